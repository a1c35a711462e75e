"""One model for pictograms, photographs and drawings: what mixing corpora does to each.

    aligngap prepare --corpus=pictograms,stamps,openclipart
    aligngap train --config=configs/mixed.py:mixed --workdir=runs/mixed

Presets: mixed; pictograms, stamps, openclipart: each alone, for as many steps. All are measured on
the held-out splits of all three. Quickstart's size and recipe (docs/data.md has the results).
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

QUICKSTART = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))
CORPORA = ("pictograms", "stamps", "openclipart")
TESTS = (
    *("pictograms/test_unseen_style", "pictograms/test_unseen_concept"),
    *("stamps/test", "openclipart/test"),
)


def get_config(name: str = "mixed") -> ConfigDict:
    """CLIP; pairs that name what another corpus holds out are left out, of each preset alike."""
    config: ConfigDict = QUICKSTART["get_config"]("clip")
    config.name = name
    config.data.corpus = "pictograms:0.7,stamps:0.1,openclipart:0.2" if name == "mixed" else name
    config.data.leave_out = CORPORA
    gap, retrieval = config.evaluators.gap, config.evaluators.retrieval
    gap.final = retrieval.final = ",".join(TESTS)
    config.evaluators = ConfigDict({"gap": gap, "retrieval": retrieval})
    return config
