"""`aligngap gap shift`: loss, retrieval and accuracy as both clouds are moved along the gap.

Liang et al. 2022, sections 4.2 and 5 (METHODS §3). The paper chooses the best shift on the data
that it reports; here it is chosen on one half, and reported on the other.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from aligngap import gap, objectives, progress
from aligngap.errors import AligngapError, UsageError
from aligngap.evaluation.intervals import estimate
from aligngap.evaluation.retrieval import KS, chance_levels, expected_hits
from aligngap.gap.embedding_shift import MOVES, shift_along
from aligngap.gap.streaming import sample
from aligngap.laboratory import along, experiment
from aligngap.laboratory.pairs import FILES, distinct, matches, read_pairs
from aligngap.laboratory.pairs import classes as classes_of
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour

TEMPERATURES = {"1/100": 100.0, "1/50": 50.0, "1": 1.0}  # τ: the logit scale 1/τ.
DIRECTIONS = {"text_retrieval": "image", "image_retrieval": "text"}  # name: who asks
PRINTED = (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75)  # the δ whose gaps the paper prints
Hits = Float[np.ndarray, "Q"]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a shift is judged by: `score` gives the hits in [0, 1] of each query after it."""

    image: Float[np.ndarray, "N D"]
    text: Float[np.ndarray, "M D"]
    score: Callable[[np.ndarray, np.ndarray], Hits]
    clusters: Int[np.ndarray, "Q"]  # what the bootstrap draws together
    chance: float


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, the grid of shifts, and sizes."""
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    parser.add_argument(
        "--labels", help="each image's row of --classes: an array [N], or a text file of lines"
    )
    parser.add_argument("--classes", help="embeddings of the classes' texts [C, D]")
    along.add_flags(parser)
    parser.add_argument("--batch", type=int, default=50, help="pairs a batch of the loss (50)")
    parser.add_argument("--pairs", type=int, default=3000, help="most pairs; beyond, a sample")
    parser.add_argument("--seed", type=int, default=0, help="of sample, batches and halves (0)")


def run(arguments: argparse.Namespace) -> experiment.Result:
    """The curves against the gap, and the best shifts chosen on one half of the pairs."""
    _check(arguments)
    deltas = along.grid(arguments)
    image, text = read_pairs(arguments.image, arguments.text)
    given, labels, classes = len(image), *classes_of(arguments, image)
    if given < arguments.batch:
        raise AligngapError(
            f"{given} pairs are no batch of {arguments.batch}; give --batch={given}"
        )
    rows = sample(given, arguments.pairs, arguments.seed)
    image, text, labels = image[rows], text[rows], labels[rows]
    distance, same = along.distance(image, text), matches(image, text)
    move, seed = arguments.move, arguments.seed

    curves = {each: along.curve(image, text, deltas, each) for each in MOVES}
    found: dict[str, Any] = {"gap": distance, "curves": curves}
    gaps = found["curves"][move]["gap"]
    found["loss"] = _landscape(image, text, deltas, gaps, arguments)
    retrieval = partial(_retrieval, image, text, same)
    found["recall"] = _recalls(image, text, same, deltas, move)
    found["best_for_retrieval"] = _held_out(retrieval, same, deltas, move, seed)
    if classes is not None:
        zero_shot = partial(_zero_shot, image, classes, labels, same)
        found["accuracy"] = _accuracies(zero_shot(np.arange(len(image))), deltas, move)
        found["best_for_zero_shot"] = _held_out(zero_shot, same, deltas, move, seed)
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    sizes = {"pairs": len(rows), "pairs_given": given, "dimension": image.shape[1]}
    batches = {"batches": len(rows) // arguments.batch, "temperatures": list(TEMPERATURES)}
    return experiment.Result(
        "shift", settings | sizes | batches, found, _picture(found, move), _summary(found)
    )


def _check(arguments: argparse.Namespace) -> None:
    for name, least in (("batch", 2), ("pairs", 4), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name}={getattr(arguments, name)}: expected at least {least}")
    if arguments.pairs < arguments.batch:
        raise UsageError(f"--pairs={arguments.pairs} is less than --batch={arguments.batch}")


def _landscape(
    image: np.ndarray,
    text: np.ndarray,
    deltas: np.ndarray,
    gaps: list[float],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The contrastive loss at each τ: mean and standard deviation over the same batches."""
    order = np.random.default_rng(arguments.seed).permutation(len(image))
    used = order[: len(image) // arguments.batch * arguments.batch].reshape(-1, arguments.batch)
    vector = gap.gap_vector(image, text)

    @jax.jit
    def losses(delta: Array, scale: Array) -> Float[Array, "batches"]:
        v, t = shift_along(vector, image, text, delta, move=arguments.move)
        return jax.vmap(objectives.contrastive_loss, (0, 0, None))(v[used], t[used], scale)

    found: dict[str, Any] = {}
    for name, scale in TEMPERATURES.items():
        values = np.array([losses(delta, scale) for delta in deltas], np.float64)
        mean, low = values.mean(axis=1), int(values.mean(axis=1).argmin())
        lowest = {"delta": float(deltas[low]), "gap": gaps[low], "loss": float(mean[low])}
        lowest["at_edge"] = low in (0, len(deltas) - 1)
        spread = {"mean": mean.tolist(), "std": values.std(axis=1).tolist()}
        found[name] = spread | {"lowest_at": lowest}
    return found


def _recalls(
    image: np.ndarray, text: np.ndarray, same: np.ndarray, deltas: np.ndarray, move: str
) -> dict[str, list[float]]:
    """name → recall at each δ, among the distinct images and captions of all pairs."""
    vector, a, b = gap.gap_vector(image, text), distinct(image), distinct(text)
    rows = []
    for delta in progress.track(deltas, "retrieval", len(deltas), "shifts"):
        v, t = map(np.asarray, shift_along(vector, image[a], text[b], delta, move=move))
        hits = expected_hits(v, t, same[a], same[b]), expected_hits(t, v, same[b], same[a])
        rows.append(np.concatenate([found.mean(axis=0) for found in hits]))
    names = [f"{direction}_recall@{k}" for direction in DIRECTIONS for k in KS]
    return dict(zip(names, np.array(rows).T.tolist(), strict=True))


def _accuracies(task: Task, deltas: np.ndarray, move: str) -> dict[str, Any]:
    """Accuracy at each δ on all images, against the gap of images and class texts."""
    vector = gap.gap_vector(task.image, task.text)
    moved = [shift_along(vector, task.image, task.text, delta, move=move) for delta in deltas]
    return {
        "gap": [float(gap.signed_gap(v, t, vector)) for v, t in moved],
        "acc1": [float(task.score(np.asarray(v), np.asarray(t)).mean()) for v, t in moved],
        "unshifted_gap": float(jnp.linalg.norm(vector)),
        "chance": task.chance,
    }


def _retrieval(image: np.ndarray, text: np.ndarray, same: np.ndarray, rows: np.ndarray) -> Task:
    """R@1 of these pairs among their distinct rows, a pair's two directions averaged."""
    labels, a, b = same[rows], distinct(image[rows]), distinct(text[rows])

    def score(v: np.ndarray, t: np.ndarray) -> Hits:
        to_text = expected_hits(v, t[b], labels, labels[b], ks=(1,))
        to_image = expected_hits(t, v[a], labels, labels[a], ks=(1,))
        return (to_text + to_image)[:, 0] / 2

    chances = [chance_levels(labels, labels[places], (1,))[0] for places in (a, b)]
    return Task(image[rows], text[rows], score, labels, float(np.mean(chances)))


def _zero_shot(
    image: np.ndarray,
    classes: np.ndarray,
    labels: np.ndarray,
    same: np.ndarray,
    rows: np.ndarray,
) -> Task:
    """Accuracy of these images among all classes; the clouds are images and class texts (paper).

    Images of one caption are alike: the bootstrap draws them together.
    """
    count = len(classes)

    def score(v: np.ndarray, t: np.ndarray) -> Hits:
        return expected_hits(v, t, labels[rows], np.arange(count), ks=(1,))[:, 0]

    return Task(image[rows], classes, score, same[rows], 1 / count)


def _held_out(
    task: Callable[[np.ndarray], Task],
    same: Int[np.ndarray, "N"],
    deltas: np.ndarray,
    move: str,
    seed: int,
) -> dict[str, Any]:
    """The δ that is best on one half, and what it does to the other: before, after, difference.

    The gap vector is the first half's too. Pairs that answer each other stay in one half.
    """
    names = np.unique(same)
    if len(names) < 4:
        raise AligngapError(f"{len(names)} distinct pairs cannot be split into halves; at least 4")
    chosen = np.isin(same, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    choosing, judging = task(np.flatnonzero(chosen)), task(np.flatnonzero(~chosen))
    vector = gap.gap_vector(choosing.image, choosing.text)

    def hits(of: Task, delta: float) -> Hits:
        return of.score(*map(np.asarray, shift_along(vector, of.image, of.text, delta, move=move)))

    scores = np.array([hits(choosing, delta).mean() for delta in deltas])
    # Of shifts that score the same the smallest: none at all is the first to be believed.
    best = float(min(deltas[scores > scores.max() - 1e-9], key=abs))
    before, after = hits(judging, 0.0), hits(judging, best)
    reported = [estimate(x, judging.clusters, judging.chance, seed) for x in (before, after)]
    change = estimate(after - before, judging.clusters, 0.0, seed)
    return {
        "delta": best,
        "chosen_on": int(chosen.sum()),
        "reported_on": int((~chosen).sum()),
        "score_where_chosen": float(scores.max()),
        "unshifted": dataclasses.asdict(reported[0]),
        "shifted": dataclasses.asdict(reported[1]),
        "change": {name: getattr(change, name) for name in ("value", "low", "high")},
    }


def _picture(found: Mapping[str, Any], move: str) -> Figure:
    """δ → gap, then loss, retrieval and (where it was measured) accuracy against the gap."""
    gaps, rows, columns = found["curves"][move]["gap"], *((2, 2) if "accuracy" in found else (1, 3))
    with experiment.style():
        figure = Figure(figsize=(4.3 * columns, 4.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns).flat
        _draw_curves(axes[0], found["gap"], found["curves"])
        _draw_losses(axes[1], gaps, found["loss"])
        _draw_recalls(axes[2], gaps, found["recall"])
        for each in axes[1:3]:
            along.mark(each, found["gap"], "signed gap between images and captions")
        if "accuracy" in found:
            _draw_accuracy(axes[3], found["accuracy"])
    return figure


def _draw_curves(axes: Axes, distance: float, curves: Mapping[str, Any]) -> None:
    """A line a way to move by δ; dots the paper's λ at the δ where the shifts are the same."""
    for number, (move, found) in enumerate(curves.items()):
        name, colour = "both sides" if move == "both" else f"{move}s only", run_colour(number)
        axes.plot(found["delta"], found["gap"], color=colour, ls=RUN_DASHES[number], label=name)
        sides = 2 if move == "both" else 1
        deltas = np.array(found["lambda"]) * distance * sides
        axes.plot(deltas[number::6], found["gap_by_lambda"][number::6], "o", color=colour, ms=3)
    ends = np.array([deltas[0], deltas[-1]])
    axes.plot(ends, distance - ends, color=PALETTE["muted"][0], lw=0.8, ls=":",
              label="without normalising: ‖Δ‖ − δ")  # fmt: skip
    axes.axhline(0, color=PALETTE["muted"][0], lw=0.7)
    axes.axvline(0, color=PALETTE["ink"][0], lw=1, ls=(0, (3, 2)))
    gaps = np.concatenate([found["gap"] for found in curves.values()])
    room = 0.08 * np.ptp(gaps)
    axes.set(xlabel="δ along the unit gap vector", ylabel="signed gap between the centroids",
             ylim=(gaps.min() - room, gaps.max() + room))  # fmt: skip
    axes.set_title("Gap; dots: the same shifts as λ times the gap vector", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _draw_losses(axes: Axes, gaps: list[float], loss: Mapping[str, Any]) -> None:
    """A line a τ with ± one standard deviation over the batches; a dot at its lowest point."""
    for number, (name, values) in enumerate(loss.items()):
        mean, std = np.array(values["mean"]), np.array(values["std"])
        colour, low = run_colour(number), int(mean.argmin())
        axes.plot(gaps, mean, color=colour, ls=RUN_DASHES[number], label=f"τ = {name}")
        ends = np.maximum(mean - std, 0.1 * mean), mean + std  # a log scale has no room below 0
        axes.fill_between(gaps, *ends, color=colour, alpha=0.18, lw=0)
        axes.plot(gaps[low], mean[low], "o", color=colour, markersize=5)
    axes.set(yscale="log", ylabel="contrastive loss (nats, log scale)")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title("Loss: mean ± s.d. of batches; dots: lowest", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _draw_recalls(axes: Axes, gaps: list[float], recall: Mapping[str, list[float]]) -> None:
    """Colour for the direction, dashes for k."""
    for direction, asks in DIRECTIONS.items():
        other = "caption" if asks == "image" else "image"
        for k, dashes in zip(KS, RUN_DASHES, strict=False):
            label = f"{'caption' if asks == 'text' else asks} → {other}, R@{k}"
            values = 100 * np.array(recall[f"{direction}_recall@{k}"])
            axes.plot(gaps, values, color=PALETTE[asks][0], ls=dashes, label=label)
    axes.set(ylabel="recall (% of queries)", ylim=(0, None))
    axes.set_title("Retrieval, on all pairs", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _draw_accuracy(axes: Axes, accuracy: Mapping[str, Any]) -> None:
    """Accuracy on all images, chance dotted."""
    axes.plot(accuracy["gap"], 100 * np.array(accuracy["acc1"]), color=run_colour(0), label="acc1")
    axes.axhline(100 * accuracy["chance"], color=PALETTE["ink"][0], ls=":", lw=1, label="chance")
    axes.set(ylabel="accuracy (% of images)", ylim=(0, None))
    axes.set_title("Zero-shot classification, on all images", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    along.mark(axes, accuracy["unshifted_gap"], "signed gap between images and class texts")


def _summary(found: Mapping[str, Any]) -> str:
    """The gap, where each τ's loss is lowest, and the best shifts as they did on unseen pairs."""
    lines = [f"gap of the pairs, unshifted: {found['gap']:.4f}", *_printed(found["curves"])]
    for name, values in found["loss"].items():
        at = values["lowest_at"]
        edge = ": the end of the grid, the minimum lies beyond" if at["at_edge"] else ""
        where = f"gap {at['gap']:.3f} (δ = {at['delta']:.2f}{edge})"
        lines.append(f"τ = {name:<5}  loss lowest at {where}")
    for name, title in (("retrieval", "mean R@1"), ("zero_shot", "accuracy")):
        if (best := found.get(f"best_for_{name}")) is not None:
            change = best["change"]
            lines.append(
                f"{title}: δ = {best['delta']:.2f}, chosen on {best['chosen_on']} pairs, moves the "
                f"other {best['reported_on']} from {best['unshifted']['value']:.4f} to "
                f"{best['shifted']['value']:.4f} (change {change['value']:+.4f} "
                f"[{change['low']:+.4f}, {change['high']:+.4f}])"
            )
    return "\n".join(lines)


def _printed(curves: Mapping[str, Any]) -> Iterator[str]:
    """δ → gap at the paper's δ that are on the grid, a line a way to move."""
    deltas = np.array(curves["both"]["delta"])
    shown = [
        int(at[0]) for at in (np.flatnonzero(abs(deltas - x) < 1e-9) for x in PRINTED) if at.size
    ]
    yield "δ → gap".ljust(11) + "".join(f"{deltas[place]:9.2f}" for place in shown)
    for move, found in curves.items():
        gaps = "".join(f"{found['gap'][place]:9.4f}" for place in shown)
        at = found["closes_at"]
        closes = "beyond the grid" if at is None else f"at δ = {at:.3f}"
        yield f"  {move:<9}{gaps}   closes {closes}; slope at 0: {found['slope']:.3f}"
