"""The flags of what fits a transform (`gap fit`, `gap close`): the options of its methods.

Apart from the methods themselves, whose room takes a second to import, so that --help does not.
"""

import argparse
from collections.abc import Callable
from typing import Any

from aligngap import flags

_OPTIONS: dict[str, tuple[Callable[[str], float], str]] = {
    "components": (flags.positive, "principal, text_principal: how many (D/100, D/2)"),
    "shrinkage": (float, "whiten, coral, ridge: λ of (1 − λ) S + λ tr(S)/D I (0.01; ridge 0.9)"),
    "eigenvectors": (flags.positive, "spectral: how many (32)"),
    "strength": (float, "transport: of the Laplacian term (100)"),
    "iterations": (flags.positive, "transport: at most (10)"),
    "most": (flags.positive, "spectral, transport: rows of each that they take (8000, 2000)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """A flag for each option of a method."""
    for option, (kind, what) in _OPTIONS.items():
        parser.add_argument(f"--{option}", type=kind, metavar="X", help=what)


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those that the user gave."""
    found = {name: getattr(arguments, name) for name in _OPTIONS}
    return {name: value for name, value in found.items() if value is not None}
