"""`aligngap gap shift`: loss, retrieval and accuracy as both clouds are moved along the gap.

Liang et al. 2022, sections 4.2 and 5 (METHODS §3). The paper chooses the best shift on the data
that it reports; here it is chosen on one half, and reported on the other.
"""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
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
from aligngap.laboratory import experiment
from aligngap.laboratory.pairs import classes as classes_of
from aligngap.laboratory.pairs import matches, read_pairs, sample
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour

TEMPERATURES = {"1/100": 100.0, "1/50": 50.0, "1": 1.0}  # τ: the logit scale 1/τ.
DIRECTIONS = {"text_retrieval": "image", "image_retrieval": "text"}  # name: who asks
SMALLEST_GAP = 1e-6  # below it the gap vector is rounding, and its direction means nothing
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
    parser.add_argument("--image", required=True, help="image embeddings [N, D], .npy")
    parser.add_argument("--text", required=True, help="text embeddings [N, D]; row i is the pair")
    parser.add_argument(
        "--labels", help="each image's row of --classes: .npy, or .txt line by line"
    )
    parser.add_argument("--classes", help="embeddings of the classes' texts [C, D], .npy")
    parser.add_argument("--move", choices=MOVES, default="both", help="what is moved (both)")
    parser.add_argument("--lowest", type=float, default=-1.0, help="lowest δ (-1)")
    parser.add_argument("--highest", type=float, default=2.0, help="highest δ (2)")
    parser.add_argument("--step", type=float, default=0.05, help="δ from point to point (0.05)")
    parser.add_argument("--batch", type=int, default=50, help="pairs a batch of the loss (50)")
    parser.add_argument("--pairs", type=int, default=3000, help="most pairs; beyond, a sample")
    parser.add_argument("--seed", type=int, default=0, help="of sample, batches and halves (0)")


def run(arguments: argparse.Namespace) -> experiment.Result:
    """The curves against the gap, and the best shifts chosen on one half of the pairs."""
    deltas = _grid(arguments)
    image, text = read_pairs(Path(arguments.image), Path(arguments.text))
    given, labels, classes = len(image), *classes_of(arguments, image)
    if given < arguments.batch:
        raise AligngapError(
            f"{given} pairs are no batch of {arguments.batch}; give --batch={given}"
        )
    rows = sample(given, arguments.pairs, arguments.seed)
    image, text, labels = image[rows], text[rows], labels[rows]
    distance = float(gap.centroid_distance(image, text))
    if distance < SMALLEST_GAP:
        raise AligngapError(f"the gap is {distance:.1e}: no direction to move the clouds along")
    same = matches(image, text)
    move, seed = arguments.move, arguments.seed

    found: dict[str, Any] = {"gap": distance, "curves": _conventions(image, text, deltas)}
    gaps = found["curves"][move]["gap"]
    found["loss"] = _landscape(image, text, deltas, gaps, arguments)
    retrieval = partial(_retrieval, image, text, same)
    found["recall"] = _recalls(image, text, same, deltas, move)
    found["best_for_retrieval"] = _held_out(retrieval, same, deltas, move, seed)
    if classes is not None:
        zero_shot = partial(_zero_shot, image, classes, labels)
        found["accuracy"] = _accuracies(zero_shot(np.arange(len(image))), deltas, move)
        found["best_for_zero_shot"] = _held_out(zero_shot, same, deltas, move, seed)
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    sizes = {"pairs": len(rows), "pairs_given": given, "dimension": image.shape[1]}
    batches = {"batches": len(rows) // arguments.batch, "temperatures": list(TEMPERATURES)}
    return experiment.Result(
        "shift", settings | sizes | batches, found, _picture(found, move), _summary(found)
    )


def _grid(arguments: argparse.Namespace) -> Float[np.ndarray, "P"]:
    """Multiples of --step, so that no shift at all is one of them."""
    low, high, step = arguments.lowest, arguments.highest, arguments.step
    if not (low < 0 < high and 0 < step <= (high - low) / 4) or not np.isfinite([low, high]).all():
        raise UsageError(
            f"--lowest={low:g} --highest={high:g} --step={step:g}: expected a lowest below 0, a "
            "highest above 0, and a step of at most a quarter of their distance"
        )
    for name, least in (("batch", 2), ("pairs", 4), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name}={getattr(arguments, name)}: expected at least {least}")
    if arguments.pairs < arguments.batch:
        raise UsageError(f"--pairs={arguments.pairs} is less than --batch={arguments.batch}")
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def _conventions(image: np.ndarray, text: np.ndarray, deltas: np.ndarray) -> dict[str, Any]:
    """δ → gap for each way to move, by both conventions at the λ where they are the same shift."""
    vector = gap.gap_vector(image, text)
    found = {}
    for move in MOVES:
        lambdas = deltas / float(jnp.linalg.norm(vector)) / (2 if move == "both" else 1)
        signed = jax.jit(
            lambda amount, unit, move=move: gap.signed_gap(
                *shift_along(vector, image, text, amount, unit=unit, move=move), vector
            ),
            static_argnums=1,
        )
        found[move] = {
            "delta": deltas.tolist(),
            "gap": [float(signed(delta, True)) for delta in deltas],
            "lambda": lambdas.tolist(),
            "gap_by_lambda": [float(signed(each, False)) for each in lambdas],
        }
    return found


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
    """name → recall at each δ, on all pairs."""
    vector = gap.gap_vector(image, text)
    rows = []
    for delta in progress.track(deltas, "retrieval", len(deltas), "shifts"):
        v, t = map(np.asarray, shift_along(vector, image, text, delta, move=move))
        hits = expected_hits(v, t, same, same), expected_hits(t, v, same, same)
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
    """R@1 of these pairs among themselves, a pair's two directions averaged."""
    labels = same[rows]

    def score(v: np.ndarray, t: np.ndarray) -> Hits:
        both = [expected_hits(a, b, labels, labels, ks=(1,))[:, 0] for a, b in ((v, t), (t, v))]
        return np.mean(both, axis=0)

    return Task(image[rows], text[rows], score, labels, chance_levels(labels, labels, (1,))[0])


def _zero_shot(
    image: np.ndarray, classes: np.ndarray, labels: np.ndarray, rows: np.ndarray
) -> Task:
    """Accuracy of these images among all classes; the clouds are images and class texts (paper)."""
    count = len(classes)

    def score(v: np.ndarray, t: np.ndarray) -> Hits:
        return expected_hits(v, t, labels[rows], np.arange(count), ks=(1,))[:, 0]

    return Task(image[rows], classes, score, np.arange(len(rows)), 1 / count)


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
    """Loss, retrieval and (where it was measured) accuracy against the signed gap."""
    gaps, panels = found["curves"][move]["gap"], 3 if "accuracy" in found else 2
    with experiment.style():
        figure = Figure(figsize=(4.1 * panels, 4.1), layout="constrained")
        axes = figure.subplots(1, panels)
        _draw_losses(axes[0], gaps, found["loss"])
        _draw_recalls(axes[1], gaps, found["recall"])
        for each in axes[:2]:
            _mark(each, found["gap"], "signed gap between images and captions")
        if panels == 3:
            _draw_accuracy(axes[2], found["accuracy"])
    return figure


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
    _mark(axes, accuracy["unshifted_gap"], "signed gap between images and class texts")


def _mark(axes: Axes, unshifted: float, label: str) -> None:
    """The gap as it was found, dashed, and the closed gap, thin."""
    axes.axvline(unshifted, color=PALETTE["ink"][0], lw=1, ls=(0, (3, 2)))
    axes.axvline(0, color=PALETTE["muted"][0], lw=0.7)
    for place, words in ((unshifted, "unshifted"), (0, "closed")):
        axes.annotate(words, (place, 0), (2, 3), rotation=90, fontsize=7, va="bottom",
                      color=PALETTE["muted"][0], textcoords="offset points",
                      xycoords=("data", "axes fraction"))  # fmt: skip
    axes.set_xlabel(label)


def _summary(found: Mapping[str, Any]) -> str:
    """The gap, where each τ's loss is lowest, and the best shifts as they did on unseen pairs."""
    lines = [f"gap of the pairs, unshifted: {found['gap']:.4f}"]
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
