"""`aligngap gap close`: the gap of embeddings closed after training, without their model.

Spectral joint embedding and Laplacian-regularised optimal transport of Role et al. 2025, and
mean-centring. No method reads which row is whose pair, but all of them see the rows that they are
evaluated on.
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
from scipy.sparse.linalg import svds

from aligngap import gap
from aligngap.config import MODALITIES
from aligngap.errors import AligngapError, UsageError
from aligngap.gap.streaming import sample
from aligngap.intervals import as_json
from aligngap.laboratory.shared.embeddings import FILES, distinct, matches, read_pairs
from aligngap.laboratory.shared.result import Result, style
from aligngap.reporting.figures import PALETTE, project, run_colour
from aligngap.tasks import retrieval
from aligngap.unit import unit_rows_numpy

METHODS = ("mean", "spectral", "transport")
MOST = {"mean": 1_000_000, "spectral": 8000, "transport": 2000}  # pairs in minutes on two cores
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
    parser.add_argument("--eigenvectors", type=int, default=32, help="spectral: how many (32)")
    parser.add_argument("--strength", type=float, default=100.0, help="transport: Laplacian (100)")
    parser.add_argument("--iterations", type=int, default=10, help="transport: at most (10)")
    parser.add_argument("--most", type=int, help="pairs that a method takes; more are an error")
    parser.add_argument(
        "--pairs", type=int, default=3000, help="most pairs measured: a sample (3000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and intervals (0)")


def run(arguments: argparse.Namespace) -> Result:
    """Closes the gap of all pairs, and measures before and after."""
    _check(arguments)
    image, text = read_pairs(arguments.image, arguments.text)
    closed, notes = _close(image, text, arguments)
    rows = sample(len(image), arguments.pairs, arguments.seed)
    same = matches(image[rows], text[rows])
    kept = distinct(image[rows]), distinct(text[rows])
    before, after = (
        _measured(v[rows], t[rows], same, kept, arguments.seed) for v, t in ((image, text), closed)
    )
    found = {"before": before, "after": after, "method": notes}
    sizes = {"pairs_given": len(image), "pairs_measured": len(rows), "dimension": image.shape[1]}
    return Result(
        "close",
        vars(arguments) | sizes | {"dimension_closed": closed[0].shape[1]},
        found,
        _picture(found, ((image[rows], text[rows]), (closed[0][rows], closed[1][rows]))),
        _summary(found, arguments.method),
        {"image.npy": _npy(closed[0]), "text.npy": _npy(closed[1])},
    )


def centred(image: Rows, text: Rows) -> tuple[Rows, Rows]:
    """Each modality less its own mean, rows normalised again."""
    return unit_rows_numpy(image - image.mean(axis=0)), unit_rows_numpy(text - text.mean(axis=0))


def spectral(image: Rows, text: Rows, k: int) -> tuple[Rows, Rows, dict[str, Any]]:
    """Rows of k eigenvectors of I − D⁻¹[[0, W], [Wᵀ, 0]], W = max(V·Tᵀ, 0), normalised.

    A weight below 0 has no random walk: negative cosines count as no edge. The graph has two
    sides, so the eigenvectors are singular vectors of D₁^-½ W D₂^-½; the constant one is left out.
    """
    cosines = np.asarray(image, np.float64) @ np.asarray(text, np.float64).T
    weights = np.maximum(cosines, 0)
    degrees = weights.sum(axis=1), weights.sum(axis=0)
    for side, degree in zip(MODALITIES, degrees, strict=True):
        if (alone := np.flatnonzero(degree <= 0)).size:
            raise AligngapError(f"{side} row {alone[0]} has no positive cosine: no edge to follow")
    left, right = (1 / np.sqrt(degree)[:, None] for degree in degrees)
    start = np.ones(len(weights))  # ARPACK's own start is random
    u, values, vt = svds(left * weights * right.T, k=k + 1, v0=start)
    order = np.argsort(-values)[1:]
    notes = {
        "negative_cosines_clipped": float((cosines < 0).mean()),
        "eigenvalues": (1 - values[order]).tolist(),
    }
    return unit_rows_numpy(left * u[:, order]), unit_rows_numpy(right * vt.T[:, order]), notes


def transport(
    image: Rows, text: Rows, strength: float, iterations: int
) -> tuple[Rows, Rows, dict[str, Any]]:
    """Images moved onto texts by the plan's barycentres; texts stay (Courty et al. 2017).

    The plan minimises squared distance + strength · Laplacian term over graphs of 3 neighbours.
    """
    try:
        import ot
    except ImportError as error:
        raise AligngapError(
            "--method=transport needs the POT library; install it with: pip install 'POT>=0.9'"
        ) from error
    v, t = (np.asarray(x, np.float64) for x in (image, text))
    even = np.full(len(v), 1 / len(v))
    plan, log = ot.da.emd_laplace(
        even, even, v, t, ot.dist(v, t), eta=strength, numItermax=iterations, log=True
    )
    notes = {"iterations": len(log["loss"]) - 1, "objective": [float(x) for x in log["loss"]]}
    return unit_rows_numpy(plan @ t / plan.sum(axis=1, keepdims=True)), text, notes


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
    for name in ("eigenvectors", "iterations"):
        if getattr(arguments, name) < 1:
            raise UsageError(f"--{name}={getattr(arguments, name)}: expected at least 1")
    if arguments.pairs < 4 or arguments.seed < 0:
        raise UsageError("--pairs is at least 4, and --seed at least 0")
    if not (np.isfinite(arguments.strength) and arguments.strength >= 0):
        raise UsageError(f"--strength={arguments.strength}: expected a number of at least 0")
    for name in MODALITIES:
        written = (Path(arguments.output) / f"{name}.npy").resolve()
        if written in (Path(arguments.image).resolve(), Path(arguments.text).resolve()):
            raise UsageError(f"{written} is read and would be overwritten; give another --output")


def _close(
    image: Rows, text: Rows, arguments: argparse.Namespace
) -> tuple[tuple[Rows, Rows], dict[str, Any]]:
    """The closed rows as float32, and what the method has to say."""
    most = arguments.most or MOST[arguments.method]
    if len(image) > most:
        raise AligngapError(
            f"--method={arguments.method} holds N×N numbers and {len(image)} pairs are over its "
            f"{most}; raise --most, give fewer pairs, or take --method=mean"
        )
    notes: dict[str, Any] = {}
    if arguments.method == "mean":
        v, t = centred(image, text)
    elif arguments.method == "spectral":
        if arguments.eigenvectors > len(image) - 2:
            raise AligngapError(f"--eigenvectors: {len(image)} pairs have at most {len(image) - 2}")
        v, t, notes = spectral(image, text, arguments.eigenvectors)
    else:
        v, t, notes = transport(image, text, arguments.strength, arguments.iterations)
    return (np.asarray(v, np.float32), np.asarray(t, np.float32)), notes


def _measured(
    v: Rows, t: Rows, same: np.ndarray, kept: tuple[np.ndarray, np.ndarray], seed: int
) -> dict[str, Any]:
    """The gap of the pairs, and retrieval among the distinct (`kept`) images and captions."""
    a, b = kept
    recalls = retrieval.evaluate(v[a], t[b], same[a], same[b], seed)
    return {
        "gap": gap.summary(v, t),
        "fid": frechet_distance(v, t),
        "retrieval": as_json(recalls),
    }


def _npy(rows: Rows) -> bytes:
    file = io.BytesIO()
    np.save(file, rows, allow_pickle=False)
    return file.getvalue()


def _picture(found: Mapping[str, Any], clouds: tuple[tuple[Rows, Rows], ...]) -> Figure:
    """Both clouds before and after in their own principal plane; retrieval; gap measures."""
    with style():
        figure = Figure(figsize=(11.5, 6.6), layout="constrained")
        axes = figure.subplots(2, 2)
        for each, (v, t), when in zip(axes[0], clouds, ("before", "after"), strict=True):
            _draw_cloud(each, v, t, when)
        recalls = {
            name.replace("text_retrieval_recall", "image → caption, R").replace(
                "image_retrieval_recall", "caption → image, R"
            ): [found[when]["retrieval"][name] for when in ("before", "after")]
            for name in found["before"]["retrieval"]
        }
        _draw_recalls(axes[1, 0], recalls)
        _draw_measures(axes[1, 1], found)
    return figure


def _draw_cloud(axes: Axes, v: Rows, t: Rows, when: str) -> None:
    plane = project(v, t, np.arange(len(v)))
    for name, points, marker in (("image", plane.image, "o"), ("text", plane.text, "D")):
        axes.plot(*points[:1000].T, marker, ms=2.5, mew=0, alpha=0.5, color=PALETTE[name][0],
                  label={"image": "images", "text": "captions"}[name])  # fmt: skip
    axes.set_title(f"{when.capitalize()}, its own principal plane", fontsize=9, loc="left")
    axes.set(xlabel=f"PC 1 ({100 * plane.shares[0]:.1f} % of variance)", aspect="equal",
             ylabel=f"PC 2 ({100 * plane.shares[1]:.1f} %)", adjustable="datalim")  # fmt: skip
    axes.legend(frameon=False, markerscale=2)


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


def _summary(found: Mapping[str, Any], method: str) -> str:
    before, after = found["before"], found["after"]
    pairs = {name: (before["gap"][name], after["gap"][name]) for name in SHOWN}
    pairs["fid"] = before["fid"], after["fid"]
    for name, found_before in before["retrieval"].items():
        pairs[name] = found_before["value"], after["retrieval"][name]["value"]
    lines = [f"{name:<28} {a:8.4f} → {b:8.4f}" for name, (a, b) in pairs.items()]
    seen = "closed on the rows that are measured, without reading which row is whose pair"
    return "\n".join([f"{method}: before → after ({seen})", *lines])
