"""Tasks and measures are functions of embeddings: whoever has some needs no model and no data."""

import subprocess
import sys

import pytest

LISTS = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*(name for name in sys.modules if name.startswith("aligngap.")))
"""


@pytest.mark.parametrize(
    "room",
    [
        *("tasks.retrieval", "tasks.search", "tasks.zero_shot", "tasks.calibration"),
        *("gap", "objectives"),
    ],
)
def test_embeddings_are_enough(room):
    command = [sys.executable, "-c", LISTS, f"aligngap.{room}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert f"aligngap.{room}" in loaded
    others = ("data", "models.dual_encoder", "runs", "training", "evaluation")
    assert not [name for name in loaded if name.removeprefix("aligngap.").startswith(others)]
