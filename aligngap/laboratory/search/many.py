"""The picture and the words of `aligngap gap search` in more than two modalities."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.search.figure import COPIES, DRAWN, opening, words
from aligngap.laboratory.shared.band import draw_band
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE
from aligngap.tasks.many_modalities import among_first, even, pair
from aligngap.tasks.search import FIRST, GRID, NDCG, Mixture

Values = Mapping[Mixture, Mapping[str, float]]


def draw(found: Mapping[str, Any]) -> Figure:
    """Each two modalities against the share of the one: how well, and how many of it come first;
    what comes first where all are even; and fused documents."""
    names = found["modalities"]
    with style():
        figure = Figure(figsize=(9.2, 7.8), layout="constrained")
        axes = figure.subplots(2, 2)
        searched, fused = (_by(found[NDCG]), _by(found["fused"][NDCG]))
        for number, (one, other) in enumerate(itertools.combinations(range(len(names)), 2)):
            mixtures = [pair(len(names), one, other, share) for share in GRID]
            label = f"{names[one]}, else {names[other]}"
            ones = _by(found[among_first(names[one])])
            for each, values in ((axes[0, 0], searched), (axes[0, 1], ones), (axes[1, 1], fused)):
                draw_band(each, GRID, [values[mixture] for mixture in mixtures], number, label)
        evenly = even(len(names))
        for each, values in ((axes[0, 0], searched), (axes[1, 1], fused)):
            each.axhline(
                values[evenly]["value"], color=PALETTE["ink"][0], ls=":", label="all evenly"
            )
        axes[0, 1].plot(GRID, GRID, color=PALETTE["muted"][0], ls=":", label="as in the pool")
        _bars(axes[1, 0], [_by(found[among_first(name)])[evenly] for name in names], names)
        share = "share of items that stand as the first-named"
        axes[0, 0].set(xlabel=share, ylabel=f"{DRAWN[NDCG]}, mean over queries", ylim=(0, None))
        axes[0, 1].set(xlabel=share, ylabel=f"share of it among the first {FIRST}", ylim=(0, 1))
        axes[1, 0].set(ylabel=f"share among the first {FIRST}", ylim=(0, 1))
        axes[1, 1].set(
            xlabel="weight of the first-named in a fused document", ylim=axes[0, 0].get_ylim()
        )
        titles = ("Pools of two; bands: 95 %", "What comes first of two; bands: 95 %",
                  "What comes first of all, evenly; bars: 95 %",
                  "Pools of fused documents; bands: 95 %")  # fmt: skip
        for each, title in zip(axes.flat, titles, strict=True):
            each.set_title(title, fontsize=9, loc="left")
            each.legend(frameon=False, fontsize=7.5)
    return figure


def summary(
    found: Mapping[str, Any],
    sizes: Mapping[str, int],
    given: int,
    transformed: str = "",
    copied: str = "",
) -> str:
    """A line a measure, of each modality alone and of all evenly; a line for each two, half of the
    items each; and fused documents."""
    names = found["modalities"]
    alone = [tuple(map(float, row)) for row in np.eye(len(names))]
    heads, first = [*names, "all evenly"], [among_first(name) for name in names]
    width = max(22, *(len(name) + 2 for name in first))
    lines = [
        opening(sizes, given, transformed),
        *([f"{copied}: {COPIES}"] if copied else []),
        "items stand as".ljust(width) + "".join(f"{head:>9}".ljust(26) for head in heads),
    ]
    for name in (*DRAWN, "recall@1", "recall@5", *first):
        at = _by(found[name])
        columns = [words(at[mixture]) for mixture in (*alone, even(len(names)))]
        lines.append(name.ljust(width) + "".join(columns))
    for one, other in itertools.combinations(range(len(names)), 2):
        half = pair(len(names), one, other, 0.5)
        share = _by(found[first[one]])[half]["value"]
        value = words(_by(found[NDCG])[half]).strip()
        lines.append(
            f"half {names[one]}, half {names[other]}: {NDCG} {value}; of the first {FIRST} "
            f"{share:.3f} {names[one]}"
        )
    fused = _by(found["fused"][NDCG])
    best = max(fused, key=lambda mixture: fused[mixture]["value"])
    weights = ", ".join(f"{x:.2g} {name}" for x, name in zip(best, names, strict=True) if x)
    lines.append(
        f"fused documents: {NDCG} {fused[even(len(names))]['value']:.3f} evenly, "
        f"{fused[best]['value']:.3f} of {weights} (the best here, chosen on these queries)"
    )
    return "\n".join(line.rstrip() for line in lines)


def _by(values: Sequence[Mapping[str, Any]]) -> dict[Mixture, Mapping[str, float]]:
    """Entries of search.json by their shares, or weights."""
    return {tuple(value.get("shares", value.get("weights")).values()): value for value in values}


def _bars(axes: Axes, values: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    y, low, high = (np.array([value[key] for value in values]) for key in ("value", "low", "high"))
    axes.bar(
        names, y, yerr=[y - low, high - y], color=PALETTE["rule"][0], edgecolor=PALETTE["muted"][0]
    )
    axes.axhline(1 / len(names), color=PALETTE["muted"][0], ls=":", label="as in the pool")
