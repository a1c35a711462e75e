"""The picture and the words of `aligngap gap advise`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.advise.advice import Advice, said
from aligngap.laboratory.advise.judge import TASKS
from aligngap.laboratory.advise.weighing import Weighed
from aligngap.laboratory.shared import clouds
from aligngap.laboratory.shared.band import draw_band
from aligngap.laboratory.shared.result import style
from aligngap.reporting.advice_page.page import Picture
from aligngap.reporting.figures import PALETTE, run_colour, run_marker

COLUMN = 28  # characters


def draw(found: Mapping[str, Any], picture: Picture) -> Figure:
    """Gains of every method in every task; mixed search and the clouds before and after."""
    with style():
        figure = Figure(figsize=(11.5, 8.4), layout="constrained")
        axes = figure.subplots(2, 2)
        _draw_gains(axes[0, 0], found)
        _draw_search(axes[0, 1], found["search"], picture.method)
        for each, rows, title in zip(
            axes[1], (picture.before, picture.after), ("Before", picture.title), strict=True
        ):
            clouds.draw(each, *rows, f"{title}, its own principal plane")
    return figure


def _draw_gains(axes: Axes, found: Mapping[str, Any]) -> None:
    """A row a method; within it a point and its interval for each task."""
    names = [*found["methods"]]
    for number, (task, about) in enumerate(found["tasks"].items()):
        offset = 0.7 * ((number + 0.5) / len(found["tasks"]) - 0.5)
        rows = [(at, found["methods"][m]["gains"].get(task)) for at, m in enumerate(names)]
        there = [(at + offset, gain) for at, gain in rows if gain]
        colour, places = run_colour(number), [at for at, _ in there]
        axes.hlines(places, *([g[end] for _, g in there] for end in ("low", "high")), color=colour,
                    lw=1.2)  # fmt: skip
        axes.plot([gain["value"] for _, gain in there], places, run_marker(number)[0], ms=3.5,
                  color=colour, label=f"{about['title']}, {about['measure']}")  # fmt: skip
    axes.axvline(0, color=PALETTE["ink"][0], lw=0.9)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("gain over untransformed rows; 95 % for all together")
    axes.set_title("Held-out gains", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def _draw_search(axes: Axes, curves: Mapping[str, Any], method: str) -> None:
    """NDCG@10 against the share of images: before and after, every other method faint."""
    for name, values in curves.items():
        places = [each["image_share"] for each in values]
        if name in ("before", method):
            draw_band(axes, places, values, int(name == method), name.replace("_", " "))
            continue
        reached = [each["value"] for each in values]
        axes.plot(places, reached, color=PALETTE["rule"][0], lw=0.9, zorder=1)
    axes.plot([], [], color=PALETTE["rule"][0], lw=0.9, label="other methods")
    axes.set(xlabel="share of items that stand as image", ylabel="NDCG@10", ylim=(0, None))
    axes.set_title("Mixed search; bands: 95 % a point", fontsize=9, loc="left")
    axes.legend(frameon=False)


def summary(found: Weighed, sizes: Mapping[str, Any], commands: Sequence[str]) -> str:
    """A line a method, who is left out, and the advice."""
    advice = found.advice
    titles = (f"{TASKS[task].title}, {TASKS[task].measure}" for task in advice.tasks)
    before = (f"{x.value:.3f} [{x.low:.3f}, {x.high:.3f}]" for x in advice.before.values())
    copies = sizes["copies_judged"]
    lines = [
        f"fitted on {sizes['pairs_fitted']:,} pairs, judged by {sizes['pairs_judged']:,} others "
        f"({sizes['items_judged']:,} items; copies: {copies['image']:,} images, "
        f"{copies['text']:,} texts)",
        "gain over untransformed rows [95 % interval, for all together]; *: without 0",
        _line("", titles),
        _line("untransformed", before),
        *(_line(method, _gains(advice, method)) for method in advice.methods),
        *(f"{method} is left out: {reason}" for method, reason in found.left_out.items()),
        advice.sentence(),
        *commands,
    ]
    return "\n".join(lines)


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{name:<20}{''.join(cell.ljust(COLUMN) for cell in cells)}".rstrip()


def _gains(advice: Advice, method: str) -> Iterator[str]:
    for task in advice.tasks:
        gain = advice.gains.get((method, task))
        beyond = "" if gain is None or gain.low <= 0 <= gain.high else " *"
        yield "–" if gain is None else f"{said(gain)}{beyond}"
