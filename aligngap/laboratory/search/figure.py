"""The picture and the words of `aligngap gap search`."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from aligngap.laboratory.shared.band import draw_band
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE
from aligngap.tasks.search import FIRST, GRID, IMAGES, NDCG

DRAWN = {NDCG: f"NDCG@{FIRST}", "recall@10": "recall@10", "mrr": "MRR"}
PRINTED = (0.0, 0.5, 1.0)
COPIES = "what equals a right document is no distractor"


def draw(found: Mapping[str, Any]) -> Figure:
    """Measures against the share of images, how many images come first, and fused documents."""
    with style():
        figure = Figure(figsize=(12.9, 3.9), layout="constrained")
        axes = figure.subplots(1, 3)
        for number, (name, label) in enumerate(DRAWN.items()):
            draw_band(axes[0], GRID, found[name], number, label)
            draw_band(axes[2], GRID, found["fused"][name], number, label)
        draw_band(axes[1], GRID, found[IMAGES], 0)
        unbiased = [value["chance"] for value in found[IMAGES]]
        axes[1].plot(GRID, unbiased, color=PALETTE["muted"][0], ls=":", label="as in the pool")
        share = "share of items that stand as image"
        axes[0].set(xlabel=share, ylabel="mean over queries", ylim=(0, None))
        axes[1].set(xlabel=share, ylabel=f"share of images among the first {FIRST}", ylim=(0, 1))
        axes[2].set(xlabel="weight of the text in a fused document", ylim=axes[0].get_ylim())
        titles = ("Mixed pool", "What comes first", "Pool of fused documents")
        for each, title in zip(axes, titles, strict=True):
            each.set_title(f"{title}; bands: 95 %", fontsize=9, loc="left")
            each.legend(
                frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(DRAWN)
            )
    return figure


def summary(
    found: Mapping[str, Any],
    sizes: Mapping[str, int],
    given: int,
    transformed: str = "",
    copied: str = "",
) -> str:
    """A line a measure at three shares of images, and the best fused document."""
    lines = [
        opening(sizes, given, transformed),
        *([f"{copied}: {COPIES}"] if copied else []),
        f"{'share of images':<22}" + "".join(f"{share:9g}".ljust(26) for share in PRINTED),
    ]
    for name in (*DRAWN, "recall@1", "recall@5", IMAGES):
        at = {value["image_share"]: value for value in found[name]}
        lines.append(f"{name:<22}" + "".join(words(at[share]) for share in PRINTED))
    fused = found["fused"][NDCG]
    best = max(fused, key=lambda value: value["value"])
    even = next(value for value in fused if value["text_weight"] == 0.5)
    lines.append(
        f"fused documents: {NDCG} {even['value']:.3f} at text weight 0.5, "
        f"{best['value']:.3f} at {best['text_weight']:g} (the best here, chosen on these queries)"
    )
    return "\n".join(line.rstrip() for line in lines)


def opening(sizes: Mapping[str, int], given: int, transformed: str) -> str:
    """What was searched, and what stands in the table below."""
    of = f" of {given:,}" if given > sizes["queries"] else ""
    by = f", transformed by {transformed}" if transformed else ""
    return f"{sizes['items']:,} items, {sizes['queries']:,} queries{of}{by}: value, 95 % interval"


def words(value: Mapping[str, float]) -> str:
    """A value with its interval, as wide as a column."""
    low, high = value["low"], value["high"]
    return f"{value['value']:9.3f} [{low:.3f}, {high:.3f}]".ljust(26)
