"""The picture of `aligngap gap cone`: MLPs, encoders layer by layer, their last features."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aligngap.laboratory.cone.measures import Cones
from aligngap.laboratory.cone.random_encoders import Drawn
from aligngap.laboratory.cone.random_mlps import Layers
from aligngap.laboratory.shared.result import style
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour, run_marker

NOISE = "noise"  # The kind of input that is drawn beside a real one.


def draw(
    mlps: Mapping[str, Layers], drawn: Mapping[str, Drawn], cones: Mapping[str, Cones]
) -> Figure:
    """Above, MLPs by layer; in the middle, encoders by layer; below, their last features."""
    with style():
        figure = Figure(figsize=(10.0, 11.4), layout="constrained")
        parts: Any = figure.subfigures(3, 1, height_ratios=(1, 1.05, 1.25), hspace=0.03)
        _mlp_panels(parts[0], mlps)
        _layer_panels(parts[1], drawn)
        real = [name for name in cones if not name.endswith(NOISE)]
        panels = parts[2].subplots(1, 1 + len(real), width_ratios=(1.7, *[1.0] * len(real)))
        _encoder_panel(panels[0], cones)
        for axes, name in zip(panels[1:], real, strict=True):
            shown = axes.imshow(cones[name].cosines, vmin=0, vmax=1, cmap="cividis")
            axes.set_title(name.replace(", ", "\n"), fontsize=9, loc="left")
            axes.set_xlabel("initialisation")
            axes.grid(visible=False)
        panels[1].set_ylabel("initialisation")
        parts[2].colorbar(
            shown, ax=panels[1:], location="bottom", shrink=0.6, label="mean cosine of two inputs"
        )
    return figure


def _mlp_panels(figure: Any, mlps: Mapping[str, Layers]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (name, one) in enumerate(mlps.items()):
        look = {"color": run_colour(number), "linestyle": RUN_DASHES[number % len(RUN_DASHES)]}
        layers, shares = np.arange(one.cosines.shape[1]), np.array(one.shares)
        for axes, middle, low, high in (
            (left, one.cosines.mean(axis=0), one.cosines.min(axis=0), one.cosines.max(axis=0)),
            (right, *shares[:, :3].T),
        ):
            axes.plot(layers, middle, linewidth=1.5, label=name, **look)
            axes.fill_between(layers, low, high, color=look["color"], alpha=0.2, linewidth=0)
    repeats = len(next(iter(mlps.values())).cosines)
    left.set_title(f"random MLPs; bands: all {repeats} repeats", fontsize=9, loc="left")
    right.set_title(f"bands: 95 %, jackknife over {repeats} MLPs", fontsize=9, loc="left")
    left.set(xlabel="layer (0: the inputs)", ylabel="mean cosine of two inputs", ylim=(-0.03, 1.03))
    right.set(xlabel="layer (0: the inputs)", ylabel="share of variance\ndue to the initialisation")
    right.tick_params(labelleft=True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)


def _layer_panels(figure: Any, drawn: Mapping[str, Drawn]) -> None:
    """A panel an encoder, a line a kind of input; bands: all initialisations."""
    encoders = list(dict.fromkeys(name.split(", ")[0] for name in drawn))
    panels = figure.subplots(1, len(encoders), sharey=True)
    for axes, encoder in zip(panels, encoders, strict=True):
        kinds = {name: one for name, one in drawn.items() if name.startswith(f"{encoder}, ")}
        for number, (name, one) in enumerate(kinds.items()):
            _line(axes, one, name.split(", ")[1], number)
        _name_layers(axes, one.layers)
        shown = f"random {encoder}: {one.pooled}\nbands: all {len(one.cosines)} initialisations"
        axes.set_title(shown, fontsize=9, loc="left")
        axes.legend(loc="lower right", frameon=False)
    panels[0].set(ylabel="mean cosine of two inputs", ylim=(-0.03, 1.03))


def _line(axes: Axes, one: Drawn, label: str, number: int) -> None:
    places, colour = np.arange(len(one.layers)), run_colour(number)
    dashes, marker = RUN_DASHES[number], run_marker(number)[0]
    look: dict[str, Any] = {"linestyle": dashes, "marker": marker, "markersize": 3.5}
    axes.plot(places, one.cosines.mean(axis=0), color=colour, linewidth=1.5, label=label, **look)
    low, high = one.cosines.min(axis=0), one.cosines.max(axis=0)
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)


def _name_layers(axes: Axes, layers: list[str]) -> None:
    """Every layer with a name, and every fourth block."""
    named = [i for i, name in enumerate(layers) if not name.isdigit() or int(name) % 4 == 0]
    axes.set_xticks(named, [layers[i] for i in named], rotation=45, ha="right")
    axes.set_xlabel("after which block")


def _encoder_panel(axes: Axes, cones: Mapping[str, Cones]) -> None:
    """A line for each encoder and kind of input; bars: all initialisations, or 95 %."""
    ink, colours = PALETTE["ink"][0], (PALETTE["image"][0], PALETTE["text"][0])
    for place, one in enumerate(cones.values()):
        own, share = np.diag(one.cosines), one.share
        axes.plot([own.min(), own.max()], [place - 0.13] * 2, color=colours[0], linewidth=1.4)
        axes.plot(share.within, place - 0.13, "o", color=colours[0], markersize=5)
        axes.plot([share.low, share.high], [place + 0.13] * 2, color=colours[1], linewidth=1.4)
        axes.plot(share.value, place + 0.13, "D", color=colours[1], markersize=5)
        axes.plot(share.within - share.between, place + 0.13, "|", color=ink, markersize=11)
    axes.plot([], [], "o-", color=colours[0], label="mean cosine (bar: all initialisations)")
    axes.plot([], [], "D-", color=colours[1], label="share of variance due to them (95 %)")
    axes.plot(
        [], [], "|", color=ink, markersize=9, label="its lower bound; the mean cosine is the upper"
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    labels = [f"{name}\n{one.accuracy:.1%} told apart" for name, one in cones.items()]
    axes.set_yticks(range(len(cones)), labels)
    axes.set(xlim=(0, 1.02), ylim=(len(cones) - 0.5, -0.5), xlabel="cosine, or share of variance")
