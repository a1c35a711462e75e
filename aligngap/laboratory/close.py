"""`aligngap gap close`: the gap of embeddings closed after training, without their model.

Every method of `gap.transforms`, among them spectral joint embedding and Laplacian-regularised
optimal transport of Role et al. 2025. It is fitted on one half of the pairs, judged on the other.
"""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap import gap, transform_flags
from aligngap.config import MODALITIES
from aligngap.errors import UsageError
from aligngap.gap import copies
from aligngap.gap.copies import Items
from aligngap.gap.streaming import sample
from aligngap.gap.transforms.methods import METHODS
from aligngap.intervals import as_json
from aligngap.laboratory.shared import clouds
from aligngap.laboratory.shared.embeddings import FILES, read_pairs
from aligngap.laboratory.shared.halves import halves
from aligngap.laboratory.shared.result import Result, style
from aligngap.reporting.figures import PALETTE, run_colour
from aligngap.tasks import retrieval

SHOWN = (
    "centroid_distance",
    "alignment_score",
    "relative_modality_gap",
    "linear_separability",
    "same_modality_neighbours",
)
Rows = Float[np.ndarray, "N D"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, the method, and its settings."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    parser.add_argument("--method", choices=METHODS, default="mean", help="how (mean)")
    transform_flags.add(parser)
    parser.add_argument(
        "--pairs", type=int, default=3000, help="most pairs measured: a sample (3000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of halves, sample, intervals (0)")


def run(arguments: argparse.Namespace) -> Result:
    """Fits on one half, closes the gap of all, and measures the other half before and after."""
    _check(arguments)
    image, text = read_pairs(arguments.image, arguments.text)
    items = copies.of(image, text)
    label = items.group
    fitted, judged = halves(label, arguments.seed)
    transform = gap.GapTransform.fit(
        image[fitted],
        text[fitted],
        arguments.method,
        **transform_flags.given(arguments),
    )
    closed = transform.image(image), transform.text(text)
    rows = judged[sample(len(judged), arguments.pairs, arguments.seed)]
    own = items.take(rows)  # Of the rows given: a transform may put two items on one place.
    before, after = (
        _measured(v[rows], t[rows], own, arguments.seed) for v, t in ((image, text), closed)
    )
    found = {"before": before, "after": after, "transform": transform.about()}
    sizes = {
        "pairs_given": len(image),
        "pairs_fitted": len(fitted),
        "pairs_measured": len(rows),
        "copies": items.copies,
        "dimension": image.shape[1],
        "dimension_closed": transform.width,
    }
    return Result(
        "close",
        vars(arguments) | sizes,
        found,
        _picture(found, ((image[rows], text[rows]), (closed[0][rows], closed[1][rows]))),
        _summary(found, arguments.method, len(fitted), copies.said(items.copies)),
        {
            "image.npy": _npy(closed[0]),
            "text.npy": _npy(closed[1]),
            "judged_rows.npy": _npy(judged),
        },
    )


def frechet_distance(image: Rows, text: Rows) -> float:
    """FID between the modalities: ‖μ₁ − μ₂‖² + tr(S₁ + S₂ − 2(S₁S₂)^½) (Heusel et al. 2017)."""
    v, t = (np.asarray(x, np.float64) for x in (image, text))
    roots = []
    for x in (v, t):
        values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
        roots.append(vectors * np.sqrt(np.maximum(values, 0)))
    # tr (S₁S₂)^½ is the sum of the singular values of R₁ᵀR₂ for any S = R·Rᵀ.
    shared = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    spread = sum(float((root**2).sum()) for root in roots)
    return float(np.sum((v.mean(axis=0) - t.mean(axis=0)) ** 2) + spread - 2 * shared)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.pairs < 4 or arguments.seed < 0:
        raise UsageError("--pairs is at least 4, and --seed at least 0")
    for name in MODALITIES:
        written = (Path(arguments.output) / f"{name}.npy").resolve()
        if written in (Path(arguments.image).resolve(), Path(arguments.text).resolve()):
            raise UsageError(f"{written} is read and would be overwritten; give another --output")


def _measured(v: Rows, t: Rows, items: Items, seed: int) -> dict[str, Any]:
    """The gap of the pairs, and retrieval among the distinct images and captions."""
    a, b, same = items.first.image, items.first.text, items.group
    recalls = retrieval.evaluate(v[a], t[b], same[a], same[b], seed)
    return {
        "gap": gap.summary(v, t, items=items),
        "fid": frechet_distance(v[a], t[b]),
        "retrieval": as_json(recalls),
    }


def _npy(rows: Rows) -> bytes:
    file = io.BytesIO()
    np.save(file, rows, allow_pickle=False)
    return file.getvalue()


def _picture(found: Mapping[str, Any], pairs: tuple[tuple[Rows, Rows], ...]) -> Figure:
    """Both clouds before and after in their own principal plane; retrieval; gap measures."""
    with style():
        figure = Figure(figsize=(11.5, 6.6), layout="constrained")
        axes = figure.subplots(2, 2)
        for each, (v, t), when in zip(axes[0], pairs, ("before", "after"), strict=True):
            clouds.draw(each, v, t, f"{when.capitalize()}, its own principal plane")
        recalls = {
            name.replace("text_retrieval_recall", "image → caption, R").replace(
                "image_retrieval_recall", "caption → image, R"
            ): [found[when]["retrieval"][name] for when in ("before", "after")]
            for name in found["before"]["retrieval"]
        }
        _draw_recalls(axes[1, 0], recalls)
        _draw_measures(axes[1, 1], found)
    return figure


def _draw_recalls(axes: Axes, recalls: Mapping[str, list[Mapping[str, float]]]) -> None:
    """Two points a line with their 95 % intervals; a tick at chance."""
    for place, both in enumerate(recalls.values()):
        for number, x in enumerate(both):
            y, colour = place + (-0.14, 0.14)[number], run_colour(number)
            axes.plot([100 * x["low"], 100 * x["high"]], [y, y], color=colour, lw=1.3)
            axes.plot(100 * x["value"], y, "os"[number], color=colour, ms=4.5,
                      label=("before", "after")[number] if not place else None)  # fmt: skip
        axes.plot([100 * both[0]["chance"]] * 2, [place - 0.3, place + 0.3],
                  color=PALETTE["ink"][0], lw=1, label=None if place else "chance")  # fmt: skip
    axes.set_yticks(range(len(recalls)), list(recalls))
    axes.set(xlabel="recall (% of queries), 95 % interval", xlim=(0, None))
    axes.invert_yaxis()
    axes.legend(frameon=False)
    axes.set_title("Retrieval", fontsize=9, loc="left")


def _draw_measures(axes: Axes, found: Mapping[str, Any]) -> None:
    """The measures that lie in about [0, 2], each before and after."""
    names = [*SHOWN, "fid"]
    for number, when in enumerate(("before", "after")):
        values = [{**found[when]["gap"], "fid": found[when]["fid"]}[name] for name in names]
        places = np.arange(len(names)) + (-0.19, 0.19)[number]
        bars = axes.barh(places, values, 0.36, color=run_colour(number), label=when)
        axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set(xlabel="value (FID in squared distance of unit rows)")
    axes.margins(x=0.12)
    axes.legend(frameon=False)
    axes.set_title("The gap", fontsize=9, loc="left")


def _summary(found: Mapping[str, Any], method: str, fitted: int, copied: str) -> str:
    before, after = found["before"], found["after"]
    pairs = {name: (before["gap"][name], after["gap"][name]) for name in SHOWN}
    pairs["fid"] = before["fid"], after["fid"]
    for name, found_before in before["retrieval"].items():
        pairs[name] = found_before["value"], after["retrieval"][name]["value"]
    lines = [f"{name:<28} {a:8.4f} → {b:8.4f}" for name, (a, b) in pairs.items()]
    half = f"fitted on {fitted:,} pairs, measured on others"
    half += f"; {copied}: equal rows count once" if copied else ""
    return "\n".join([f"{method}: before → after ({half})", *lines])
