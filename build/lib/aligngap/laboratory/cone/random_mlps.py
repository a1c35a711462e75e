"""Random MLPs, layer by layer: how each activation narrows the cone (Liang et al. 2022, §2)."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aligngap import gap
from aligngap.laboratory.cone.measures import Share, variance_share
from aligngap.unit import unit_rows

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "tanh": jnp.tanh,
    "linear": lambda x: x,
}


class Layers(NamedTuple):
    """What random MLPs of one activation do to their inputs, which are layer 0."""

    cosines: Float[np.ndarray, "repeats layers+1"]
    shares: list[Share]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Their sizes (the paper's), and how many of each."""
    add = parser.add_argument
    names, shown = list(ACTIVATIONS), f"of the MLPs: {', '.join(ACTIVATIONS)}"
    add("--activations", nargs="+", choices=names, default=names, metavar="NAME", help=shown)
    add("--layers", type=int, default=25, help="of the MLPs")
    add("--width", type=int, default=512, help="of the MLPs and of their inputs")
    add("--inputs", type=int, default=1024, help="of the MLPs, a repeat")
    add("--repeats", type=int, default=10, help="MLPs for each activation")


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
    # A dead row is nan in what is found, and no cosine of 0.
    unit = unit_rows(x, smallest=0.0)
    return gap.mean_pairwise_cosine(unit), unit.mean(axis=0)
