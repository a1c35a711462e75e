"""The picture and the words of `aligngap gap bias`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.shared import along_gap
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour

READABLE = 8  # lines of one panel that can be told apart
EXTREMES = 2  # of more lines, the highest and as many of the lowest stand out
NAME_LENGTH = 24  # characters of a name in a legend
PRINTED = 5  # groups at either end that the summary names


def draw(found: Mapping[str, Any], label: str) -> Figure:
    """A panel a category, a line a group; then accuracy, where it is known."""
    categories = found["categories"]
    panels = len(categories) + ("accuracy" in found)
    columns = 2 if panels == 4 else min(3, panels)
    rows = -(-panels // columns)
    with style():
        figure = Figure(figsize=(4.3 * columns, 4.0 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for each, name in zip(axes, categories, strict=False):
            _draw_category(each, found, name)
        if "accuracy" in found:
            _draw_accuracy(axes[panels - 1], found)
        for each in axes[:panels]:
            along_gap.mark(each, found["gap"], label)
        for each in axes[panels:]:
            each.remove()
        if len(found["groups"]) <= READABLE:
            lines = axes[0].get_legend_handles_labels()
            figure.legend(*lines, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_category(axes: Axes, found: Mapping[str, Any], category: str) -> None:
    """Shares of each group with intervals at the unshifted gap; of many groups the extremes."""
    groups, gaps = found["groups"], found["curve"]["gap"]
    order = sorted(groups, key=lambda name: groups[name]["unshifted"][category]["value"])
    shown = list(groups)
    if len(groups) > READABLE:
        shown = [*order[: -EXTREMES - 1 : -1], *order[EXTREMES - 1 :: -1]]
        for number, name in enumerate(name for name in groups if name not in shown):
            axes.plot(gaps, 100 * np.array(groups[name]["shares"][category]), lw=0.6,
                      color=PALETTE["rule"][0],
                      label=None if number else f"{len(groups) - len(shown)} others")  # fmt: skip
    for number, name in enumerate(shown):
        _draw_group(axes, gaps, groups[name], category, name, number, found["gap"])
    entry = found["categories"][category]
    plural = "" if entry["prompts"] == 1 else "s"
    axes.set_title(f"Matched to “{_short(category)}” ({entry['prompts']} prompt{plural})",
                   fontsize=9, loc="left")  # fmt: skip
    axes.set(ylabel="share (% of the group's images)", ylim=(0, None))
    if len(groups) > READABLE:
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14),
                    ncols=2)  # fmt: skip


def _draw_group(
    axes: Axes,
    gaps: Sequence[float],
    group: Mapping[str, Any],
    category: str,
    name: str,
    number: int,
    unshifted: float,
) -> None:
    """A line, and its interval a little beside the others' at the unshifted gap."""
    colours = [run_colour(n) for n in range(6)] + [PALETTE["image"][0], PALETTE["text"][0]]
    colour, dashes = colours[number], RUN_DASHES[number % len(RUN_DASHES)]
    label = f"{_short(name)} ({group['images']:,})"
    shares = 100 * np.array(group["shares"][category])
    axes.plot(gaps, shares, color=colour, ls=dashes, label=label)
    at = group["unshifted"][category]
    place = unshifted + (number - 3.5) * 0.006 * float(np.ptp(gaps))
    axes.plot([place, place], [100 * at["low"], 100 * at["high"]], color=colour, lw=1)


def _draw_accuracy(axes: Axes, found: Mapping[str, Any]) -> None:
    accuracy, gaps = found["accuracy"], found["curve"]["gap"]
    axes.plot(gaps, 100 * np.array(accuracy["value"]), color=PALETTE["ink"][0])
    at = accuracy["unshifted"]
    ends = [100 * at["low"], 100 * at["high"]]
    axes.plot([found["gap"]] * 2, ends, color=PALETTE["ink"][0], lw=2.5)
    axes.axhline(100 * at["chance"], color=PALETTE["muted"][0], ls=":", lw=1)
    axes.annotate("chance", (0, 100 * at["chance"]), (3, 2), xycoords=("axes fraction", "data"),
                  textcoords="offset points", fontsize=7, color=PALETTE["muted"][0])  # fmt: skip
    axes.set(ylabel=f"accuracy (% of {accuracy['images']:,} images)", ylim=(0, None))
    axes.set_title("Matched to a prompt of its own group", fontsize=9, loc="left")


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def summary(found: Mapping[str, Any], what: str) -> str:
    """For each category, the groups at the unshifted gap, and the largest difference there and
    where the gap is closed."""
    closed = found["closed_at"]
    lines = [f"gap of images and {what}, unshifted: {found['gap']:.4f}"]
    if closed is None:
        lines.append("no shift of the grid closes it; see --highest")
    else:
        lines[0] += f"; closed at about δ = {found['curve']['delta'][closed]:.2f}"
    for name, entry in found["categories"].items():
        lines += _category_lines(found, name, entry)
    if (accuracy := found.get("accuracy")) is not None:
        at = accuracy["unshifted"]
        line = f"accuracy of {accuracy['images']:,} images: {_percent(at)}, chance"
        line += f" {100 * at['chance']:.1f} %"
        if (change := accuracy.get("change_when_closed")) is not None:
            ends = f"[{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
            line += f"; closing changes it by {100 * change['value']:+.1f} {ends} points"
        lines.append(line)
    lines.append("no shift was chosen by what it does; images count as independent")
    return "\n".join(lines)


def _category_lines(found: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    groups = found["groups"]
    yield f"matched to {name}, unshifted gap, 95 % interval:"
    order = sorted(groups, key=lambda each: -groups[each]["unshifted"][name]["value"])
    left = len(order) - 2 * PRINTED
    shown = order if left <= 0 else [*order[:PRINTED], "", *order[-PRINTED:]]
    for each in shown:
        if each:
            images = groups[each]["images"]
            yield f"  {each:<24} {_percent(groups[each]['unshifted'][name])} of {images:,} images"
        else:
            yield f"  {left} more are in bias.json"
    if len(groups) == 1:
        return
    values, chance = entry["largest_difference"], entry["unshifted_by_chance"]
    line = f"  largest difference of two groups: {100 * values[found['unshifted_at']]:.1f} points"
    line += f" (shuffled labels {100 * chance['mean']:.1f}, 95 % below {100 * chance['high']:.1f})"
    if found["closed_at"] is not None:
        line += f"; gap closed: {100 * values[found['closed_at']]:.1f}"
    yield line


def _percent(at: Mapping[str, float]) -> str:
    return f"{100 * at['value']:5.1f} % [{100 * at['low']:.1f}, {100 * at['high']:.1f}]"
