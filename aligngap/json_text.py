"""JSON of strangers, read so that whatever walks through it comes to an end."""

import json
import sys
from typing import Any

DEEPEST = 100  # Lists and objects in each other; Python itself gives up at some hundreds.
NUMBER = int | float  # That a float64 holds, and no boolean.
_DEEP = f"lists and objects lie in each other more than {DEEPEST} deep"


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


def expect(found: Any, form: Any, at: str = "") -> None:
    """ValueError, or KeyError for a name that is missing, unless what JSON says has this form: a
    type, [the form of each], {name: its form} beside other names, or {str: the form of all}."""
    if isinstance(form, dict) and isinstance(found, dict):
        for name, own in form.items():
            for key in found if name is str else (name,):
                expect(found[key], own, f"{at}/{key}")
    elif isinstance(form, list) and isinstance(found, list):
        for number, each in enumerate(found):
            expect(each, form[0], f"{at}/{number}")
    elif isinstance(form, dict | list) or not _is(found, form):
        raise ValueError(f"{at or 'it'} is {json.dumps(found)[:60]}")


def _is(found: Any, form: Any) -> bool:
    if isinstance(found, bool):
        return form is bool
    held = not isinstance(found, NUMBER) or abs(found) <= sys.float_info.max
    return held and isinstance(found, form)


def _parts(held: Any) -> Any:
    if isinstance(held, dict):
        return held.values()
    return held if isinstance(held, list) else ()
