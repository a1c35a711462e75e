"""Each flag is known to the installed XLA, which ends a process for one that is not."""

import os
import subprocess
import sys

import pytest

from aligngap import xla_flags
from aligngap.xla_flags import DETERMINISTIC, PLATFORMS, Flag


def start(flags: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    code = "import jax; print(jax.devices()[0].platform)"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )


def test_xla_knows_each_flag():
    ours = [flag for p in PLATFORMS.values() if p.variable == "XLA_FLAGS" for flag in p.flags]
    done = start(xla_flags.joined("", (*ours, *DETERMINISTIC)))
    assert done.stdout == "cpu\n", done.stderr


def test_xla_ends_for_a_flag_that_it_does_not_know():
    done = start(xla_flags.joined("", (Flag("xla_gpu_no_such_flag", "true", ""),)))
    assert done.returncode and "xla_gpu_no_such_flag" in done.stderr


@pytest.fixture
def cuda_here(monkeypatch):
    platform = PLATFORMS["cuda"]._replace(packages=("jax",))
    monkeypatch.setitem(PLATFORMS, "cuda", platform)
    monkeypatch.delitem(PLATFORMS, "tpu")


def test_what_a_user_gives_stays(cuda_here):
    environment = {"XLA_FLAGS": "--mine=1  --xla_gpu_deterministic_ops=false"}
    xla_flags.give(environment)
    xla_flags.give(environment, deterministic=True)
    assert environment["XLA_FLAGS"].split() == [
        *("--mine=1", "--xla_gpu_deterministic_ops=false"),
        "--xla_gpu_enable_latency_hiding_scheduler=true",
        "--xla_gpu_enable_triton_gemm=false",
        "--xla_gpu_dot_merger_threshold_mb=0",
    ]


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, "0.95"),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": ".5"}, ".5"),
        ({"XLA_CLIENT_MEM_FRACTION": ".5"}, None),
    ],
)
def test_a_gpu_s_memory_is_taken_unless_a_user_says_how_much(cuda_here, given, share):
    environment = dict(given)
    xla_flags.give(environment)
    assert environment.get("XLA_PYTHON_CLIENT_MEM_FRACTION") == share


def test_deterministic_kernels_are_asked_for_by_the_config(cuda_here):
    environment: dict[str, str] = {}
    xla_flags.give(environment, deterministic=True)
    assert "--xla_gpu_deterministic_ops=true" in environment["XLA_FLAGS"].split()


@pytest.mark.parametrize("platforms", ["cpu", "tpu,cpu"])
def test_no_flag_of_a_platform_that_is_left_out(cuda_here, platforms):
    environment = {"JAX_PLATFORMS": platforms}
    xla_flags.give(environment)
    assert environment == {"JAX_PLATFORMS": platforms}
