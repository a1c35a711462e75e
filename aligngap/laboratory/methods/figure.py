"""The picture, the words and the table of `aligngap gap methods`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.methods.curves import BEFORE
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour

ENDS = (0.0, 0.5, 1.0)  # Shares of images that are said.
ACROSS = 2  # Panels beside each other.


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
        x, y, low, high = (
            np.array([point[key] for point in values["curve"]])
            for key in ("image_share", "value", "low", "high")
        )
        if method not in shown:
            axes.plot(x, y, color=PALETTE["rule"][0], lw=0.8, zorder=1)
            continue
        number = shown.index(method)
        colour = run_colour(number)
        axes.plot(x, y, color=colour, ls=RUN_DASHES[number], label=method.replace("_", " "))
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
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
        f"{model['items_judged']:,} items; NDCG@10"
    )
    heads = [f"p {p:g}" for p in ENDS] + ["mean", "least / lower end", "over mean-centring"]
    yield f"{'':<30}" + "".join(head.ljust(8) for head in heads[:3]) + "  ".join(heads[3:])
    for method, values in model["methods"].items():
        points = "".join(f"{_at(values, p)['value']:.3f}   " for p in ENDS)
        rest = "  ".join(_said(values[key]) for key in ("mean", "floor", "over_mean"))
        yield f"{method:<30}{points}{rest}  {_options(values)}".rstrip()
    for method, reason in model["left_out"].items():
        yield f"{method} is left out: {reason}"
    yield f"best by the rows to choose by: {best(model)}"


def table(found: Mapping[str, Any]) -> str:
    """Two tables in Markdown, a row a method and a column a model: NDCG@10 at the ends and between
    them, with the least over p as a share of the lower end; what is gained over mean-centring."""
    parts = [_table(found, _reached), _table(found, lambda values: _said(values["over_mean"], "+"))]
    return "\n".join(parts)


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


def _said(value: Mapping[str, float], sign: str = "") -> str:
    middle, low, high = (f"{value[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{middle} [{low}, {high}]"


def _options(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {x:g}" for name, x in values["options"].items())
