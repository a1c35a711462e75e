"""The picture, the words and the table of `aligngap gap methods`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.methods.curves import BEFORE
from aligngap.laboratory.shared.band import draw_band
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE
from aligngap.reporting.words import signed
from aligngap.tasks.search import GRID

ENDS = (0.0, 0.5, 1.0)  # Shares of images that are said.
ACROSS = 2  # Panels beside each other.
REACHED = """NDCG@10 at p = 0 / 0.5 / 1; then the least over p as a share of the lower end.
"""
GAINED = """What is gained over mean-centring, of the mean of NDCG@10 over p, [with its own 95 %
interval] [with one that holds for all methods of the model together]; bold where the latter
excludes 0.
"""


def draw(found: Mapping[str, Any]) -> Figure:
    """A panel a model: NDCG@10 against the share of images, in colour of the rows as they are, of
    mean-centring and of the method that reached most."""
    with style():
        down = -(-len(found) // ACROSS)
        across = min(len(found), ACROSS)
        figure = Figure(figsize=(4.6 * across, 3.6 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for each, (name, model) in zip(axes, found.items(), strict=False):
            _draw(each, name, model)
        for each in axes[len(found) :]:
            each.set_axis_off()
    return figure


def _draw(axes: Axes, name: str, model: Mapping[str, Any]) -> None:
    most = max(model["methods"], key=lambda name: model["methods"][name]["mean"]["value"])
    shown = [*dict.fromkeys((BEFORE, "mean", most))]
    for method, values in model["methods"].items():
        curve = values["curve"]
        if method in shown:
            draw_band(axes, GRID, curve, shown.index(method), method.replace("_", " "))
            continue
        axes.plot(GRID, [x["value"] for x in curve], color=PALETTE["rule"][0], lw=0.8, zorder=1)
    axes.set(xlabel="share of items that stand as image", ylabel="NDCG@10", ylim=(0, None))
    count = len(model["runs"])
    seeds = f"{count} seed{'s' * (count > 1)}"
    axes.set_title(f"{name}, {seeds}; bands: 95 %", fontsize=9, loc="left")
    axes.plot([], [], color=PALETTE["rule"][0], lw=0.8, label="other methods")
    axes.legend(frameon=False, fontsize=7.5)


def best(model: Mapping[str, Any]) -> str:
    """The method by the rows that options are chosen by; without any, by those that are judged."""
    methods = model["methods"]

    def reached(name: str) -> float:
        chosen_by = methods[name]["chosen_by"]
        return float(methods[name]["mean"]["value"] if chosen_by is None else chosen_by)

    return max(methods, key=reached)


def summary(found: Mapping[str, Any]) -> str:
    """A line a method of each model."""
    return "\n".join(line for name, model in found.items() for line in _lines(name, model))


def _lines(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{name}: runs {len(model['runs'])}, fitted on {model['pairs_fitted']:,} pairs, judged by "
        f"{model['items_judged']:,} items; NDCG@10; all {model['comparisons']} gains together: "
        f"{model['errors_to_each_end']:.2f} errors to each end"
    )
    heads = "mean", "least / lower end", "over mean-centring [alone] [together]; **: without 0"
    ends = "".join(f"p {p:g}".ljust(8) for p in ENDS)
    yield f"{'':<30}{ends}" + "".join(head.ljust(22) for head in heads).rstrip()
    for method, values in model["methods"].items():
        points = "".join(f"{_at(values, p)['value']:.3f}   " for p in ENDS)
        rest = "".join(_said(values[key]).ljust(22) for key in ("mean", "floor"))
        yield f"{method:<30}{points}{rest}{_gained(values)}  {_options(values)}".rstrip()
    for method, reason in model["left_out"].items():
        yield f"{method} is left out: {reason}"
    yield f"best by the rows to choose by: {best(model)}"


def table(found: Mapping[str, Any]) -> str:
    """Two tables in Markdown, a row a method and a column a model: NDCG@10 at the ends and between
    them, with the least over p as a share of the lower end; what is gained over mean-centring."""
    return "\n".join([REACHED, _table(found, _reached), GAINED, _table(found, _gained)])


def _table(found: Mapping[str, Any], cell: Callable[[Mapping[str, Any]], str]) -> str:
    lines = [f"| method | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for method in dict.fromkeys(name for model in found.values() for name in model["methods"]):
        of_models = (model["methods"].get(method) for model in found.values())
        cells = ["–" if values is None else cell(values) for values in of_models]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _reached(values: Mapping[str, Any]) -> str:
    points = " / ".join(f"{_at(values, p)['value']:.3f}" for p in ENDS)
    return f"{points}; {values['floor']['value']:.2f}"


def _at(values: Mapping[str, Any], share: float) -> Mapping[str, float]:
    found: Mapping[str, float] = next(x for x in values["curve"] if x["image_share"] == share)
    return found


def _said(value: Mapping[str, float]) -> str:
    middle, low, high = (f"{value[key]:.3f}" for key in ("value", "low", "high"))
    return f"{middle} [{low}, {high}]"


def _gained(values: Mapping[str, Any]) -> str:
    """+0.0046 [+0.0004, +0.0088] [−0.0012, +0.0104]: alone, and all together."""
    alone, together = values["over_mean"], values["over_mean_together"]
    bold = "**" if together["low"] > 0 or together["high"] < 0 else ""
    ends = (f"[{signed(x['low'], 4)}, {signed(x['high'], 4)}]" for x in (alone, together))
    return " ".join([f"{bold}{signed(alone['value'], 4)}{bold}", *ends])


def _options(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {x:g}" for name, x in values["options"].items())
