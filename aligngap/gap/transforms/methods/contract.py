"""What a method is: a function from clouds and options to the maps of each modality."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aligngap.errors import AligngapError
from aligngap.gap.transforms.maps import Map
from aligngap.gap.transforms.rows import Rows

Clouds = Mapping[str, Rows]  # image, text; query where its rows are given
Options = Mapping[str, float]
# Of each modality one map after the other. A modality without an entry is treated as texts are.
Fitted = dict[str, tuple[Map, ...]]


@dataclass(frozen=True)
class Method:
    """A room of this folder: what it fits, and what it needs for that, of width D and options."""

    fit: Callable[[Clouds, Options], Fitted]
    least: Callable[[int, Options], int] = lambda width, options: 2  # rows of each modality
    # name → its default, or what that is for a width D.
    options: Mapping[str, float | Callable[[int], float]] = field(default_factory=dict)
    reads: tuple[str, ...] = ("image", "text", "query")  # the modalities whose rows matter
    paired: bool = False  # row i of image and text are one item


def expect_spread(name: str, variance: float) -> None:
    """AligngapError where all rows of a modality are one."""
    if not variance > 1e-12:
        raise AligngapError(f"{name}: all rows are the same; nothing is to be fitted to them")
