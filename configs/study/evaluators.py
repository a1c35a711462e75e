"""What is measured of the study's runs when they are trained: `validation`, by which is chosen, and
each test split, once. Out of domain: the held-out stamps, which have a sentence each, so that
nothing asks a pool of them, and drawings.

    aligngap evaluate --workdir=SWEEP --evaluators=configs/study/evaluators.py
"""

from ml_collections import ConfigDict

from aligngap.config import evaluator

FURTHER = "stamps/test,openclipart/test"


def get_config() -> ConfigDict:
    """Entries by name; `final` is the splits of each."""
    everywhere = f"validation,tests,{FURTHER}"
    return ConfigDict(
        {
            "gap": evaluator("gap", final=everywhere),
            "retrieval": evaluator("retrieval", final=everywhere),
            "search": evaluator("search", final="validation,tests,openclipart/test"),
            "zero_shot": evaluator("zero_shot", final=f"tests,{FURTHER}"),
            "clustering": evaluator("clustering", kinds=("group",)),
            "probe": evaluator("probe", kinds=("group",)),  # It takes longest.
            "arithmetic": evaluator("arithmetic"),
        }
    )
