"""Modalities by name: those that have flags of their own, and further ones that a user names."""

import re
from collections.abc import Iterable

from aligngap.errors import UsageError

OWN = ("image", "text", "query")
_NAME = re.compile("[A-Za-z0-9_-]+")


def is_further(name: object) -> bool:
    """Whether a modality beside OWN may be called that."""
    return isinstance(name, str) and name not in OWN and _NAME.fullmatch(name) is not None


def expect_further(names: Iterable[object]) -> None:
    """UsageError for a name that no further modality may have."""
    for name in names:
        if not is_further(name):
            raise UsageError(
                f"modality {name!r}: expected a name of letters, digits, _ and -, other than "
                f"{', '.join(OWN)}"
            )
