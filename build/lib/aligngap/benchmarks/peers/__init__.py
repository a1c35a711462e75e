"""What `aligngap bench readers` and `step` compare: programs, each started as a process of its own.

    python -m aligngap.benchmarks.peers.NAME JOB.json

Readers import nothing of each other but job.py, and those that train step_job.py and torch_step.py:
what is measured stands in them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[3]


def environment(more: Mapping[str, str] = {}) -> dict[str, str]:
    """Of a process that imports this package, whatever Python it runs on."""
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(places)} | dict(more)
