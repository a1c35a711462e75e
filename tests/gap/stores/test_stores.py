"""The stores with their real libraries, each in a process of .venv-stores; and where they lack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aligngap.errors import AligngapError

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
THERE = ROOT / ".venv-stores" / "bin" / "python"  # launch/test.sh makes it.


@pytest.mark.skipif(not THERE.exists(), reason="no .venv-stores; launch/test.sh makes it")
@pytest.mark.parametrize("store", ["faiss", "postgres", "sentence_transformers"])
def test_store(store, tmp_path):
    """The tests of in_STORE.py."""
    environment = {name: x for name, x in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment |= {"JAX_NUM_CPU_DEVICES": "1", "OMP_NUM_THREADS": "1"}  # All of it is small.
    command = [
        THERE,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 't'}",
    ]
    done = subprocess.run(
        [*command, HERE / f"in_{store}.py"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    if done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED:
        pytest.skip(done.stdout)  # A wheel that this Python has not.
    assert done.returncode == 0, done.stdout + done.stderr


def test_numpy(page, fit, kept, wanted, same_ranking):
    transform = fit("whiten")
    transform.save("T")
    same_ranking(page("NumPy")["ids"], wanted(transform))


@pytest.mark.parametrize(
    ("library", "wheel"),
    [("faiss", "faiss-cpu"), ("sentence_transformers", "'sentence-transformers>=6'")],
)
def test_a_library_that_is_not_there(library, wheel, monkeypatch):
    room = f"aligngap.gap.stores.{library}"
    monkeypatch.delitem(sys.modules, room, raising=False)
    monkeypatch.setitem(sys.modules, library, None)  # As Python marks what cannot be imported.
    with pytest.raises(AligngapError, match=f"install it with: pip install {wheel}$") as raised:
        __import__(room)
    assert "\n" not in str(raised.value)
