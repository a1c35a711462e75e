"""What a step keeps for its backward pass, by remat policy: an estimate that needs no device.

Counted is what automatic differentiation saves, before XLA fuses; and, where blocks are computed
again, the whole of one block at a time. Attention counts as if it were not fused, with its scores.
"""

import math
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from aligngap.config import REMAT
from aligngap.data import records
from aligngap.data.packing_plan import Plan
from aligngap.models import dual_encoder, parameters
from aligngap.objectives.objective import distils
from aligngap.training import remat
from aligngap.training.step import TAUGHT, key_of, make_encode, make_loss


def of_step(config: ConfigDict, width: int = 0, packing: Plan | None = None) -> float:
    """Bytes over all devices; `width` is of the semantics that the step itself embeds, `packing` of
    its captions, in the first of its shapes."""
    return by_policy(config, width, packing, (config.model.remat,))[config.model.remat]


def by_policy(
    config: ConfigDict,
    width: int = 0,
    packing: Plan | None = None,
    policies: tuple[str, ...] = REMAT,
) -> dict[str, float]:
    """Policy → the bytes of a step under it."""
    saved = {p: _saved(remat.under(config, p), width, packing) for p in {"none", *policies}}
    block = {p: (saved["none"] - saved[p]) / _layers(config) for p in policies}
    return {p: saved[p] + block[p] for p in policies}


def largest_batches(
    config: ConfigDict,
    own: dict[str, float],
    room: float,
    parts: int,
    width: int = 0,
    packing: Plan | None = None,
) -> dict[str, int]:
    """Policy → the largest batch over `parts` devices whose activations `room` bytes of each hold;
    `own` is what `by_policy` says of the config.

    What a batch saves is a polynomial of its size: of the second degree, where [B, B] arrays are.
    """
    unit, factors = parts * config.microbatches, (1, 2, 4)
    sizes = [config.batch_size * factor for factor in factors]
    found = [own]
    for factor in factors[1:]:
        larger, plan = _times(factor, config, packing)
        found.append(by_policy(larger, width, plan))
    return {
        policy: _largest(sizes, [of[policy] / parts for of in found], room) // unit * unit
        for policy in own
    }


def _largest(sizes: list[int], bytes_: list[float], room: float) -> int:
    square, slope, constant = np.polyfit(sizes, bytes_, 2)
    left = room - constant
    # The root of a quadratic in the form that holds where the square's factor is 0.
    under = slope**2 + 4 * max(square, 0.0) * left
    return max(int(2 * left / (slope + math.sqrt(under))), 0) if left > 0 else 0


def _times(factor: int, config: ConfigDict, packing: Plan | None) -> tuple[ConfigDict, Plan | None]:
    """With a batch so many times as large, whose captions need as many times the rows."""
    own = config.copy_and_resolve_references()
    own.batch_size = factor * config.batch_size
    if packing is not None:
        counts = tuple(factor * count for count in packing.counts)
        packing = replace(packing, size=factor * packing.size, counts=counts)
    return own, packing


def _layers(config: ConfigDict) -> int:
    """Blocks of the transformer with most tokens (that of images, where they have one) that keep
    what they make of all of them: the last does not where a token of it is pooled."""
    image, text = config.model.image, config.model.text
    if not image.stages and image.pooling == "attention":
        return int(image.layers)
    return max(1, int(text.layers if image.stages else image.layers) - 1)


def _saved(config: ConfigDict, width: int, packing: Plan | None) -> int:
    """Bytes that the forward pass keeps for the backward pass, less those of all parameters, which
    are kept anyway. So a tiny batch's may be below 0, where it keeps other forms of some."""
    model = dual_encoder.make(config)
    params = nn.unbox(parameters.abstract(config, model))
    packed = packing.shapes(packing.counts[0]) if packing else {}
    shapes = records.batch_shapes(config) | packed
    batch = {name: jax.ShapeDtypeStruct(*array) for name, array in shapes.items()}
    if width:
        batch["semantics"] = jax.ShapeDtypeStruct((config.batch_size, width), jnp.float32)
    encode, loss_of = make_encode(config, model), make_loss(config, model)

    def residuals(params: Any, batch: Any) -> Any:
        part = jax.tree.map(lambda x: x[: len(x) // config.microbatches], batch)
        step = jnp.zeros((), jnp.int32)
        key = key_of(config, step)
        of_part = jax.vjp(lambda p: encode(p, part, key), params)[1]
        embeddings = (jnp.zeros((config.batch_size, config.model.embed_dim)),) * 2
        if distils(config):
            batch = {**batch, **dict(zip(TAUGHT, embeddings, strict=True))}
        of_loss = jax.vjp(lambda e: loss_of(params, e, batch, step)[0], embeddings)[1]
        return of_part, of_loss

    kept = jax.tree.leaves(jax.eval_shape(residuals, params, batch))
    total = sum(math.prod(array.shape) * array.dtype.itemsize for array in kept)
    return total - sum(4 * math.prod(p.shape) for p in jax.tree.leaves(params))
