"""JSON of strangers, read so that whatever walks through it comes to an end."""

import json
from typing import Any

DEEPEST = 100  # Lists and objects in each other; Python itself gives up at some hundreds.


def value(text: str | bytes) -> Any:
    """What a text stands for; ValueError for what is no JSON, or nested deeper than DEEPEST."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    level = [found]
    for _ in range(DEEPEST):
        level = [part for held in level for part in _parts(held) if isinstance(part, dict | list)]
        if not level:
            return found
    raise ValueError(_DEEP)


_DEEP = f"lists and objects lie in each other more than {DEEPEST} deep"


def _parts(held: Any) -> Any:
    if isinstance(held, dict):
        return held.values()
    return held if isinstance(held, list) else ()
