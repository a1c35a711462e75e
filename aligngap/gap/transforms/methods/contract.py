"""What a method is: a function from clouds and options to the maps of each modality."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aligngap.errors import AligngapError
from aligngap.gap.transforms.maps import Map
from aligngap.gap.transforms.rows import Rows

Clouds = Mapping[str, Rows]  # image, text; query and further modalities where they are given
Options = Mapping[str, float]
# Of each modality one map after the other. Queries without an entry are treated as texts are.
Fitted = dict[str, tuple[Map, ...]]


@dataclass(frozen=True)
class Method:
    """A room of this folder: what it fits, and what it needs for that, of width D and options."""

    fit: Callable[[Clouds, Options], Fitted]
    least: Callable[[int, Options], int] = lambda width, options: 2  # rows of each modality
    # name → its default, or what that is for a width D.
    options: Mapping[str, float | Callable[[int], float]] = field(default_factory=dict)
    reads: Callable[[str], bool] = lambda modality: True  # whether its rows matter
    paired: bool = False  # row i of all modalities but the queries is one item
    further: bool = True  # it takes modalities beside images, texts and queries


def expect_spread(name: str, variance: float) -> None:
    """AligngapError where all rows of a modality are one."""
    if not variance > 1e-12:
        raise AligngapError(f"{name}: all rows are the same; nothing is to be fitted to them")
