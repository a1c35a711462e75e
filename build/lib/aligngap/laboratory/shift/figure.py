"""The picture and the words of `aligngap gap shift`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.shared import along_gap
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE, RUN_DASHES, log_heights, run_colour
from aligngap.tasks.retrieval import KS

ASKS = {"text_retrieval": "image", "image_retrieval": "text"}
PRINTED = (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75)  # the δ whose gaps the paper prints


def draw(found: Mapping[str, Any], move: str) -> Figure:
    """δ → gap, then loss, retrieval and (where it was measured) accuracy against the gap."""
    gaps, rows, columns = found["curves"][move]["gap"], *((2, 2) if "accuracy" in found else (1, 3))
    with style():
        figure = Figure(figsize=(4.3 * columns, 4.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns).flat
        _draw_curves(axes[0], found["gap"], found["curves"])
        _draw_losses(axes[1], gaps, found["loss"])
        _draw_recalls(axes[2], gaps, found["recall"])
        for each in axes[1:3]:
            along_gap.mark(each, found["gap"], "signed gap between images and captions")
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
        colour, low = run_colour(number), int(np.argmin(mean))
        axes.plot(gaps, mean, color=colour, ls=RUN_DASHES[number], label=f"τ = {name}")
        ends = np.maximum(mean - std, 0.1 * mean), mean + std  # a log scale has no room below 0
        axes.fill_between(gaps, *ends, color=colour, alpha=0.18, lw=0)
        axes.plot(gaps[low], mean[low], "o", color=colour, markersize=5)
    axes.set_ylabel("contrastive loss (nats, log scale)")
    log_heights(axes)
    axes.set_title("Loss: mean ± s.d. of batches; dots: lowest", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _draw_recalls(axes: Axes, gaps: list[float], recall: Mapping[str, list[float]]) -> None:
    """Colour for the direction, dashes for k."""
    for direction, asks in ASKS.items():
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
    along_gap.mark(axes, accuracy["unshifted_gap"], "signed gap between images and class texts")


def summary(found: Mapping[str, Any]) -> str:
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
