"""Where compiled programs are kept, what a user's own settings do, and what damage there does."""

import os
import subprocess
import sys

import pytest

from aligngap import compilation_cache
from aligngap.compilation_cache import DEFAULTS, FOLDER, LIMIT, SWITCH

# Says whether the program was read from the cache, and what it computed.
PROGRAM = """
import os
from aligngap import compilation_cache
assert not compilation_cache.keep(os.environ)
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
x = jax.random.normal(jax.random.key(0), (64, 64))
print("cache_hits" in events, float(jax.jit(lambda x: (x @ x.T).sum())(x)).hex())
"""


@pytest.fixture
def cached(tmp_path):
    """(**environment) → the process of PROGRAM, whose cache is in tmp_path/home."""

    def run(**environment: str) -> subprocess.CompletedProcess:
        own = {name: x for name, x in os.environ.items() if name not in (FOLDER, SWITCH)}
        own |= {"XDG_CACHE_HOME": str(tmp_path / "home"), **environment}
        own["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], env=own, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture
def entries(tmp_path):
    """() → the programs that are kept."""
    return lambda: sorted((tmp_path / "home" / "aligngap" / "xla").glob("*-cache"))


def test_a_second_start_reads_what_the_first_compiled_to_the_same_bits(cached, entries):
    compiled, read = cached(), cached()
    assert compiled.stdout.split()[0] == "False" and read.stdout.split()[0] == "True", read.stderr
    assert compiled.stdout.split()[1] == read.stdout.split()[1]
    assert (entries()[0].parent.stat().st_mode & 0o777) == 0o700  # Code is run from there.


def test_damaged_entries_are_compiled_anew(cached, entries):
    compiled = cached()
    for entry in entries():
        entry.write_bytes(entry.read_bytes()[:-20])
    again = cached()
    assert again.stdout.split() == compiled.stdout.split(), again.stderr
    assert again.returncode == 0 and "Error reading persistent compilation cache" in again.stderr


def test_what_a_killed_process_left_half_written_is_removed(cached, entries):
    cached()
    for entry in entries():
        entry.write_bytes(entry.read_bytes()[:-20])
        entry.with_name(entry.name.replace("-cache", "-atime")).unlink()
    assert not cached().stderr
    assert cached().stdout.startswith("True")


def test_its_key_says_which_instructions_a_cpu_has():
    code = """
import jax
from jax._src.lib import xla_client
print(xla_client.get_topology_for_devices(jax.devices()).fingerprint())"""  # As cache_key.py does.
    found = {
        subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "XLA_FLAGS": isa})
        for isa in ("", "--xla_cpu_max_isa=SSE4_2", "--xla_cpu_max_isa=AVX")
    }
    assert len(found) == 3


@pytest.mark.parametrize("given", [{FOLDER: "/mine"}, {SWITCH: "0"}, {SWITCH: "False"}])
def test_a_users_own_settings_stay(given, tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), **given}
    assert compilation_cache.keep(environment) == ""
    assert environment == {"XDG_CACHE_HOME": str(tmp_path), **given}
    assert not list(tmp_path.iterdir())


def test_a_users_own_limit_stays(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), LIMIT: "-1"}
    folder = compilation_cache.default_folder(environment)
    folder.mkdir(parents=True)
    (folder / "jit_f-cache").touch()  # Without a limit JAX writes no times of use.
    assert compilation_cache.keep(environment) == ""
    assert environment == {**DEFAULTS, **environment, FOLDER: str(folder), LIMIT: "-1"}
    assert (folder / "jit_f-cache").exists()


def test_a_place_that_cannot_be_written_is_told_of_in_a_line(tmp_path):
    (tmp_path / "aligngap").touch()
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    said = compilation_cache.keep(environment)
    assert "\n" not in said and str(tmp_path) in said and FOLDER in said
    assert FOLDER not in environment
