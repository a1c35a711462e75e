"""The cone of each initialisation: mean cosines through random networks (Liang et al. 2022, §2).

Features h of a network with random parameters Θ on an input U are L2-normalised. With w the mean
cosine of two inputs under one initialisation and b that under two independent ones, the law of
total variance, tr Var h = tr Var E[h|Θ] + E tr Var[h|Θ], reads 1 − b = (w − b) + (1 − w): the share
of the variance that is due to the initialisation is (w − b) / (1 − b). It lies between w − b and w:
it is the mean cosine itself where the initialisations' cones have no direction in common (b = 0).
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from sklearn.linear_model import LogisticRegression

from aligngap import config as configs
from aligngap import gap, progress
from aligngap.errors import UsageError
from aligngap.laboratory import pictograms
from aligngap.laboratory.experiment import Result, style
from aligngap.models import dual_encoder
from aligngap.presets import set_size
from aligngap.reporting.figures import PALETTE, RUN_DASHES, run_colour

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "tanh": jnp.tanh,
    "linear": lambda x: x,
}
CONTEXT = 16  # Tokens of the text tower: pictograms have short captions.
CHUNK = 256  # Rows that are encoded at once.
HELD_OUT = 0.2  # Share of the inputs.
LEAST = {
    **dict.fromkeys(("layers", "width", "image_size"), 1),
    **{"inputs": 2, "repeats": 3, "initialisations": 3, "examples": 10},
}


class Share(NamedTuple):
    """Of the variance that is due to the initialisation; 95 % by the jackknife over these."""

    value: float
    low: float
    high: float
    within: float  # w: the upper bound.
    between: float  # b: w − b is the lower bound.


class Layers(NamedTuple):
    """What random MLPs of one activation do to their inputs, which are layer 0."""

    cosines: Float[np.ndarray, "repeats layers+1"]
    shares: list[Share]


class Cones(NamedTuple):
    """What initialisations of one encoder make of one kind of input."""

    cosines: Float[np.ndarray, "K K"]  # Mean over two inputs, under initialisations k and l.
    share: Share
    accuracy: float  # Of telling the initialisation from the features of held-out inputs.
    inputs: int


class Encoder(NamedTuple):
    """A network to draw at random: its parameters from a key, and its unit features [N, D]."""

    initialise: Callable[[Array], Any]
    features: Callable[[Any, Any], Array]
    inputs: Mapping[str, np.ndarray]  # Kind: N rows.


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes of the MLPs (the paper's) and of the encoders (small ones), and how many of each."""
    pictograms.add_flags(parser)
    add = parser.add_argument
    names, shown = list(ACTIVATIONS), f"of the MLPs: {', '.join(ACTIVATIONS)}"
    add("--activations", nargs="+", choices=names, default=names, metavar="NAME", help=shown)
    add("--layers", type=int, default=25, help="of the MLPs")
    add("--width", type=int, default=512, help="of the MLPs and of their inputs")
    add("--inputs", type=int, default=1024, help="of the MLPs, a repeat")
    add("--repeats", type=int, default=10, help="MLPs for each activation")
    add("--model", default="Ti/16", help="size of the encoders: Ti, S, B, L, H or g and /patch")
    add("--image_size", type=int, default=64, help="pixels a side of the encoders' images")
    add("--examples", type=int, default=256, help="images, and as many captions")
    add("--initialisations", type=int, default=25, help="of each encoder")
    add("--seed", type=int, default=0, help="of everything drawn")


def run(arguments: argparse.Namespace) -> Result:
    """Random MLPs, then our encoders on pictograms and on noise of the same shape."""
    _check(arguments)
    encoders = _encoders(arguments)  # First, since they need a corpus.
    names = progress.track(
        arguments.activations, "Random MLPs", len(arguments.activations), "activations"
    )
    mlps = {name: through_layers(name, arguments) for name in names}
    cones: dict[str, Cones] = {}
    draws = len(encoders) * arguments.initialisations
    with progress.Bar("Random encoders", draws, "initialisations") as bar:
        for name, encoder in encoders.items():
            for kind, features in _draw(encoder, arguments, bar).items():
                cones[f"{name}, {kind}"] = cones_of(features, arguments.seed)
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    return Result(
        "cone", settings, _plain(mlps, cones), _figure(mlps, cones), _summary(mlps, cones)
    )


def mean_cosines(features: Float[np.ndarray, "K N D"]) -> Float[np.ndarray, "K K"]:
    """Mean cosine of two DISTINCT inputs under initialisations k and l, for L2-normalised rows."""
    count = features.shape[1]
    sums = features.sum(axis=1, dtype=np.float64)
    flat = features.reshape(len(features), -1)
    return (sums @ sums.T - flat @ flat.T) / (count * (count - 1))


def variance_share(cosines: Float[np.ndarray, "K K"]) -> Share:
    """The share that the initialisation has in the variance of unit features: see the room's top.

    `cosines` as of `mean_cosines`, of K ≥ 3 initialisations. In [w − b, w].
    """
    within, between = _within_and_between(cosines)
    value, count = (within - between) / (1 - between), len(cosines)
    left_out = []
    for k in range(count):
        w, b = _within_and_between(np.delete(np.delete(cosines, k, axis=0), k, axis=1))
        left_out.append((w - b) / (1 - b))
    half = 1.96 * float(np.sqrt((count - 1) * np.var(left_out)))
    return Share(value, value - half, value + half, within, between)


def told_apart(features: Float[np.ndarray, "K N D"], seed: int) -> float:
    """Accuracy of a linear classifier that names the initialisation, on inputs it has never seen.

    Multinomial logistic regression; an input is on one side of the split for all initialisations.
    """
    initialisations, count, dimension = features.shape
    order = np.random.default_rng(seed).permutation(count)
    test, train = np.split(order, [max(round(HELD_OUT * count), 1)])
    model = LogisticRegression(max_iter=1000)
    labels = np.arange(initialisations)
    model.fit(features[:, train].reshape(-1, dimension), labels.repeat(len(train)))
    return float(model.score(features[:, test].reshape(-1, dimension), labels.repeat(len(test))))


def cones_of(features: Float[np.ndarray, "K N D"], seed: int) -> Cones:
    """All that is measured of unit features of N inputs under K initialisations."""
    cosines = mean_cosines(features)
    share, accuracy = variance_share(cosines), told_apart(features, seed)
    return Cones(cosines, share, accuracy, features.shape[1])


def through_layers(activation: str, arguments: argparse.Namespace) -> Layers:
    """MLPs with weights and biases ~ N(0, 1/width) on inputs ~ N(0, 1), all drawn each repeat."""
    function, shape = ACTIVATIONS[activation], (arguments.inputs, arguments.width)
    pass_through = jax.jit(lambda key: _pass(key, function, shape, arguments.layers))
    root = jax.random.key(arguments.seed)
    seen = [pass_through(jax.random.fold_in(root, i)) for i in range(arguments.repeats)]
    cosines = np.stack([np.asarray(own, np.float64) for own, _ in seen])
    means = np.stack([np.asarray(mean, np.float64) for _, mean in seen], axis=1)
    shares = []
    for own, centres in zip(cosines.T, means, strict=True):
        between = centres @ centres.T  # No input is seen by two MLPs.
        np.fill_diagonal(between, own)
        shares.append(variance_share(between))
    return Layers(cosines, shares)


def _pass(
    key: Array, activation: Callable[[Array], Array], shape: tuple[int, int], layers: int
) -> tuple[Float[Array, "layers+1"], Float[Array, "layers+1 W"]]:
    """Mean pairwise cosine and mean unit feature of the inputs and after each layer."""
    width = shape[1]
    x = jax.random.normal(jax.random.fold_in(key, layers), shape)

    def layer(x: Array, number: Array) -> tuple[Array, Any]:
        drawn = jax.random.normal(jax.random.fold_in(key, number), (width + 1, width))
        weights, bias = jnp.split(drawn / np.sqrt(width), [width])
        x = activation(x @ weights + bias)
        return x, _seen(x)

    _, after = jax.lax.scan(layer, x, jnp.arange(layers))
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), _seen(x), after)


def _seen(x: Float[Array, "N W"]) -> tuple[Float[Array, ""], Float[Array, "W"]]:
    unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    return gap.mean_pairwise_cosine(unit), unit.mean(axis=0)


def _encoders(arguments: argparse.Namespace) -> dict[str, Encoder]:
    """Both towers of ours, on pictograms and on noise of their shape. A further network is a
    further entry."""
    config = _config(arguments)
    folder, seed = arguments.data_dir, arguments.seed
    pairs = pictograms.pairs(arguments.examples, arguments.image_size, CONTEXT, folder, seed)
    config.model.text.vocab_size = pairs.vocab_size
    model, random = dual_encoder.make(config), np.random.default_rng(seed)
    noise = random.standard_normal(pairs.images.shape, np.float32)
    # Uniform words in place of a caption's own; the two last ids are its start and its end.
    words = random.integers(0, pairs.vocab_size - 2, pairs.ids.shape, np.int32)
    words = np.where(pairs.ids < pairs.vocab_size - 2, words, pairs.ids)
    return {
        "image": _tower(model, "encode_image", {"pictograms": pairs.images, "noise": noise}),
        "text": _tower(model, "encode_text", {"captions": pairs.ids, "noise": words}),
    }


def _tower(model: nn.Module, method: str, inputs: Mapping[str, np.ndarray]) -> Encoder:
    one = next(iter(inputs.values()))[:1]
    return Encoder(
        jax.jit(lambda key: nn.unbox(model.init(key, one, method=method)["params"])),
        jax.jit(lambda params, rows: model.apply({"params": params}, rows, method=method)),
        inputs,
    )


def _config(arguments: argparse.Namespace) -> ConfigDict:
    config = set_size(configs.default(), arguments.model)
    config.model.image.size = arguments.image_size
    config.model.text.context_length = CONTEXT
    configs.validate(config)
    return config


def _draw(
    encoder: Encoder, arguments: argparse.Namespace, bar: progress.Bar
) -> dict[str, Float[np.ndarray, "K N D"]]:
    """Features of each kind of input under each initialisation."""
    drawn: dict[str, list[np.ndarray]] = {kind: [] for kind in encoder.inputs}
    root = jax.random.key(arguments.seed)
    for k in range(arguments.initialisations):
        params = encoder.initialise(jax.random.fold_in(root, k))
        for kind, rows in encoder.inputs.items():
            parts = np.array_split(rows, -(-len(rows) // CHUNK))
            drawn[kind].append(np.concatenate([encoder.features(params, part) for part in parts]))
        bar.advance()
    return {kind: np.stack(features) for kind, features in drawn.items()}


def _within_and_between(cosines: Float[np.ndarray, "K K"]) -> tuple[float, float]:
    """w and b; b is the squared length of a mean, so an estimate of it below 0 becomes 0."""
    count, own = len(cosines), float(np.trace(cosines))
    between = (float(cosines.sum()) - own) / (count * (count - 1))
    return own / count, max(between, 0.0)


def _check(arguments: argparse.Namespace) -> None:
    for name, least in LEAST.items():
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name}={getattr(arguments, name)} must be at least {least}")
    if not 0 <= arguments.seed < 2**32:
        raise UsageError(f"--seed={arguments.seed} must be in [0, 2**32)")


def _plain(mlps: Mapping[str, Layers], cones: Mapping[str, Cones]) -> dict[str, Any]:
    """What JSON holds."""
    return {
        "mlps": {
            name: {
                "mean_cosine": one.cosines.tolist(),  # [repeats, layers + 1]
                "variance_share": [share._asdict() for share in one.shares],
            }
            for name, one in mlps.items()
        },
        "encoders": {
            name: {
                "inputs": one.inputs,
                "mean_cosines": one.cosines.tolist(),  # [initialisations, initialisations]
                "variance_share": one.share._asdict(),
                "held_out_accuracy": one.accuracy,
                "chance": 1 / len(one.cosines),
            }
            for name, one in cones.items()
        },
    }


def _figure(mlps: Mapping[str, Layers], cones: Mapping[str, Cones]) -> Figure:
    """Above, MLPs: mean cosine and share of variance by layer. Below, encoders."""
    real = [name for name in cones if not name.endswith("noise")]
    with style():
        figure = Figure(figsize=(10.0, 7.6), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=(1, 1.05), hspace=0.04)
        _mlp_panels(parts[0], mlps)
        panels = parts[1].subplots(1, 1 + len(real), width_ratios=(1.5, *[1.0] * len(real)))
        _encoder_panel(panels[0], cones)
        for axes, name in zip(panels[1:], real, strict=True):
            shown = axes.imshow(cones[name].cosines, vmin=0, vmax=1, cmap="cividis")
            axes.set_title(name, fontsize=9, loc="left")
            axes.set(xlabel="initialisation", ylabel="initialisation")
            axes.grid(visible=False)
        parts[1].colorbar(shown, ax=panels[1:], shrink=0.75, label="mean cosine of two inputs")
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


def _summary(mlps: Mapping[str, Layers], cones: Mapping[str, Cones]) -> str:
    lines = ["random MLPs: mean cosine after layer 1, 2, the last; share of variance (95 %)"]
    for name, one in mlps.items():
        means, share = one.cosines.mean(axis=0), one.shares[-1]
        shown = "  ".join(f"{means[min(layer, len(means) - 1)]:.4f}" for layer in (1, 2, -1))
        lines.append(f"  {name:<20} {shown}   {_interval(share)}")
    lines.append("encoders: mean cosine; share of variance (95 %), its bounds; told apart (chance)")
    for name, cone in cones.items():
        share = cone.share
        bounds = f"in [{share.within - share.between:.3f}, {share.within:.3f}]"
        apart = f"{cone.accuracy:.1%} ({1 / len(cone.cosines):.0%})"
        lines.append(f"  {name:<20} {share.within:.4f}   {_interval(share)} {bounds}   {apart}")
    return "\n".join(lines)


def _interval(share: Share) -> str:
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
