"""A picture with its words, as both pages show it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from aligngap.reporting import figures, words


@dataclasses.dataclass(frozen=True)
class Panel:
    """One picture with its title, a remark on it, and words for those who cannot see it."""

    svg: Markup
    title: str
    note: str
    alt: str


def histograms(
    titles: Sequence[str], found: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[Panel]:
    """The cosines of pairs and of negatives, each title's, on the same bins and height."""
    values = np.concatenate([values for pair in found for values in pair])
    bins = np.linspace(values.min() - 1e-6, values.max() + 1e-6, figures.BINS + 1)
    top = 1.05 * max(figures.histogram_heights(v, bins).max() for pair in found for v in pair)
    panels = []
    for number, (title, pair) in enumerate(zip(titles, found, strict=True)):
        means = [words.decimal(float(v.mean())) if len(v) else "none" for v in pair]
        note = f"means: pairs {means[0]}, negatives {means[1]}"
        svg = Markup(figures.histogram(*pair, bins, top, number))
        panels.append(Panel(svg, title, note, f"Histogram of cosines of {title}; {note}"))
    return panels
