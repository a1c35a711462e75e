"""tcmalloc takes malloc's place in the processes of verbs that compute, and pages stay."""

import subprocess
import sys

import pytest

from aligngap import allocator, xla_flags

here = pytest.mark.skipif(not allocator.find(), reason="tcmalloc is not installed")
# 256 MiB are asked for and let go of eight times: the fewest pages that a later time faulted in. (A
# time may find the one before not yet let go of, which happens in XLA's threads.)
FAULTS = """
import resource, sys
from aligngap import allocator
if sys.argv[1] == "tcmalloc":
    allocator.start_again()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: x + 1)
large = jnp.ones(2**26)
counts = [0]
for _ in range(8):
    step(large).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(after - before for before, after in zip(counts[1:], counts[2:])))
"""


def faults(word: str) -> int:
    call = [sys.executable, "-c", FAULTS, word]
    done = subprocess.run(call, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "large alloc" not in done.stderr
    return int(done.stdout)


@here
@pytest.mark.system
def test_a_step_finds_its_pages_where_they_were():
    assert 10 * faults("tcmalloc") < faults("malloc")


@here
def test_the_loader_finds_it_for_a_process_that_starts():
    found = allocator.additions({})
    code = "print('tcmalloc' in open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", code], env=found, capture_output=True, text=True)
    assert done.stdout == "True\n" and not done.stderr


def test_what_a_user_preloads_stays():
    assert allocator.additions({"LD_PRELOAD": "libjemalloc.so.2"}) == {}
    assert allocator.additions({"LD_PRELOAD": ""}) == {}


@here
def test_what_a_user_sets_of_tcmalloc_stays():
    name = next(iter(allocator.SETTINGS))
    assert name not in allocator.additions({name: "1"}) and name in allocator.additions({})


@here
def test_an_accelerator_is_left_alone(monkeypatch):
    platform = xla_flags.PLATFORMS["cuda"]._replace(packages=("jax",))
    monkeypatch.setitem(xla_flags.PLATFORMS, "cuda", platform)
    assert allocator.additions({}) == {}
    assert allocator.additions({"JAX_PLATFORMS": "cpu"})
