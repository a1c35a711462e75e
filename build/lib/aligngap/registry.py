"""What a name in a config stands for: one of ours by its short name, or anybody's by its path."""

import importlib
from collections.abc import Mapping
from typing import Any

from aligngap.errors import UsageError


def find(name: str, known: Mapping[str, str], what: str) -> Any:
    """`known[name]`, or for a `name` with dots itself, is imported: "package.module.Class".

    So a user's own corpus, tokenizer or evaluator needs no change here. UsageError says `what` is
    unknown and which there are, or why it cannot be imported.
    """
    path = known.get(name, name)
    module, dot, attribute = path.rpartition(".")
    if not dot:
        raise UsageError(
            f"unknown {what} {name!r}: one of {', '.join(known)}, or a package.module.Name"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if name in known:
            raise
        raise UsageError(f"{what} {name!r} cannot be imported: {error}") from error
