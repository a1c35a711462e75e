"""Gradients of a batch that is too large to encode at once, with the negatives of all of it.

GradCache (Gao et al. 2021): the embeddings of every part are computed and kept, the loss of the
whole batch gives their gradients, and each part is encoded again to pass its share on to the
parameters. The same gradient as that of the batch at once, for one more forward pass.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Encode = Callable[[Any, Any, Any], Any]
Loss = Callable[..., tuple[Any, Any]]


def gradients(encode: Encode, loss: Loss, count: int) -> Callable[..., Any]:
    """(params, batch, step, key) → ((loss, metrics), gradients), encoding one of `count` parts at a
    time.

    `encode`(params, batch, key) → embeddings, row by row: a part of the batch says in "row" which
    of its rows it has, and what is drawn for each is the same both times. `loss`(params,
    embeddings, batch, step) → (loss, metrics) of the whole batch.
    """

    def of_batch(params: Any, batch: dict[str, Any], step: Any, key: Any) -> Any:
        rows = jnp.arange(len(batch["image"]))
        parts = jax.tree.map(lambda x: _split(x, count), {**batch, "row": rows})
        cached = lax.map(lambda part: encode(params, part, key), parts)
        embeddings = jax.tree.map(_join, cached)
        found, (of_scalars, of_embeddings) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
            params, embeddings, batch, step
        )

        def add(total: Any, part: Any) -> tuple[Any, None]:
            examples, cotangents = part
            _, pull = jax.vjp(lambda p: encode(p, examples, key), params)
            return jax.tree.map(jnp.add, total, pull(cotangents)[0]), None

        shares = jax.tree.map(lambda x: _split(x, count), of_embeddings)
        return found, lax.scan(add, of_scalars, (parts, shares))[0]

    return of_batch


def by_parts(function: Callable[[Any], Any], x: Any, count: int) -> Any:
    """A function of rows, of an array or of a tree of them, given one of `count` parts of them at
    a time."""
    if count == 1:
        return function(x)
    parts = jax.tree.map(lambda rows: _split(rows, count), x)
    return jax.tree.map(_join, lax.map(function, parts))


def _split(x: Any, count: int) -> Any:
    """[B, ...] → [count, B / count, ...], every count-th row together: a device's rows stay its."""
    return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)


def _join(x: Any) -> Any:
    """The inverse of `_split`."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])
