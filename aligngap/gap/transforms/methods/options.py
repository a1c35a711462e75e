"""The options of all methods: what each may be, and what it is where nobody says."""

import math
from collections.abc import Mapping

from aligngap.errors import UsageError
from aligngap.gap.transforms.methods.contract import Method, Options

WHOLE = "a whole number of at least 1"
# What is expected of each.
OPTIONS = {
    "components": WHOLE,  # principal, text_principal: how many.
    "shrinkage": "a number from 0 to 1",  # whiten, coral, ridge: λ of (1 − λ) S + λ tr(S)/D I.
    "eigenvectors": WHOLE,  # spectral: how many.
    "strength": "a number of at least 0",  # transport: of the Laplacian term.
    "iterations": WHOLE,  # transport: at most.
    "most": WHOLE,  # spectral, transport: rows of each modality that they take.
}


def settled(name: str, method: Method, given: Mapping[str, float], width: int) -> Options:
    """Those of a method, of width D; UsageError for one that it has not, or that is not allowed."""
    for option, value in given.items():
        if option not in method.options:
            own = ", ".join(f"--{each}" for each in method.options) or "none"
            raise UsageError(f"--{option} is no option of --method={name}, whose are: {own}")
        expected = OPTIONS[option]
        if not _allowed(value, expected):
            raise UsageError(f"--{option}={value}: expected {expected}")
    found = {
        option: default(width) if callable(default) else default
        for option, default in method.options.items()
    } | dict(given)
    if found.get("components", 0) >= width:
        raise UsageError(
            f"--components={found['components']}: rows of {width} dimensions have fewer to choose"
        )
    return found


def _allowed(value: float, expected: str) -> bool:
    if expected == WHOLE:
        return float(value).is_integer() and value >= 1
    return math.isfinite(value) and 0 <= value <= (1 if expected.endswith("1") else math.inf)
