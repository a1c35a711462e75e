"""XLA's flags by platform: all that this project sets, each with its reason and its source.

They are read when the devices are first asked for, and are part of the compilation cache's key. A
flag that the user's own variable names stays as it is there. XLA ends a process for a flag that it
does not know, so the tests ask the installed jaxlib for each of XLA_FLAGS (its parser knows those
of GPUs on every machine; TPUs' are known to libtpu alone). CPUs have none today.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import util
from typing import NamedTuple


class Flag(NamedTuple):
    """`name` without its dashes; `why` with where it is from."""

    name: str
    value: str
    why: str


class Platform(NamedTuple):
    """Which packages say that a machine is one, and which variable takes its flags."""

    packages: tuple[str, ...]
    variable: str
    flags: tuple[Flag, ...]


_COLLECTIVES = "collectives run beside products (MaxText, its tests on TPUs; Trillium's recipes)"
PLATFORMS = {
    "cuda": Platform(
        ("jax_cuda13_plugin", "jax_cuda12_plugin"),
        "XLA_FLAGS",
        (
            Flag(
                "xla_gpu_enable_latency_hiding_scheduler",
                "true",
                "gathers and reductions between GPUs run beside products (NVIDIA's JAX-Toolbox "
                "sets it, and it alone, in its images); a single GPU has nothing to hide",
            ),
            Flag(
                "xla_gpu_enable_triton_gemm",
                "false",
                "products by cuBLASLt alone, which adds biases and residuals while it writes "
                "(NVIDIA's JAX-Toolbox, its guide to a GPU's performance)",
            ),
            Flag(
                "xla_gpu_dot_merger_threshold_mb",
                "0",
                "query, key and value stay products of their own, as cuDNN wants each alone in "
                "memory: merged, they are taken apart again (XLA, dot_merger.h)",
            ),
        ),
    ),
    "tpu": Platform(
        ("libtpu",),
        "LIBTPU_INIT_ARGS",
        (
            Flag("xla_tpu_enable_data_parallel_all_reduce_opt", "true", _COLLECTIVES),
            Flag("xla_tpu_data_parallel_opt_different_sized_ops", "true", _COLLECTIVES),
            Flag("xla_tpu_enable_async_collective_fusion", "true", _COLLECTIVES),
            Flag("xla_tpu_enable_async_collective_fusion_fuse_all_gather", "true", _COLLECTIVES),
            Flag("xla_tpu_enable_async_collective_fusion_multiple_steps", "true", _COLLECTIVES),
            Flag("xla_tpu_overlap_compute_collective_tc", "true", _COLLECTIVES),
            Flag("xla_enable_async_all_gather", "true", _COLLECTIVES),
        ),
    ),
}
# What `config.deterministic` adds on GPUs: two runs give the same bits. CPUs and TPUs do so anyway.
DETERMINISTIC = (
    Flag(
        "xla_gpu_deterministic_ops",
        "true",
        "sums in a fixed order in place of atomic ones, and kernels that are not chosen by their "
        "time on the day (XLA, debug_options_flags.cc)",
    ),
)


def memory(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that has JAX take nearly all of a GPU's memory, as a run has it to itself: of
    its own accord it takes three quarters (jax, gpu_memory_allocation)."""
    variables = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
    return {} if any(map(environment.get, variables)) else {variables[0]: "0.95"}


def give(environment: MutableMapping[str, str], deterministic: bool = False) -> None:
    """Adds the flags of the platforms that are installed, before the devices are asked for."""
    for name, platform in installed(environment):
        environment.update(memory(environment) if name == "cuda" else {})
        more = DETERMINISTIC if deterministic and name == "cuda" else ()
        variable = platform.variable
        environment[variable] = joined(environment.get(variable, ""), (*platform.flags, *more))


def installed(environment: Mapping[str, str]) -> Iterator[tuple[str, Platform]]:
    """The platforms whose packages are here, without those that JAX_PLATFORMS leaves out."""
    wanted = environment.get("JAX_PLATFORMS", "").replace("gpu", "cuda").split(",")
    for name, platform in PLATFORMS.items():
        there = any(util.find_spec(package) for package in platform.packages)
        if there and (wanted == [""] or name in wanted):
            yield name, platform


def joined(given: str, flags: tuple[Flag, ...]) -> str:
    """The user's flags, then those of ours that they do not name."""
    named = {word.lstrip("-").partition("=")[0] for word in given.split()}
    ours = (f"--{flag.name}={flag.value}" for flag in flags if flag.name not in named)
    return " ".join([*given.split(), *ours])
