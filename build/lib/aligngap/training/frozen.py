"""What captions mean, computed within the step by a sentence encoder that does not learn."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from aligngap.data.bert import Bert, Params
from aligngap.parallel import mesh as meshes
from aligngap.training import microbatches


def with_semantics(step: Callable[..., Any], module: Bert, count: int) -> Callable[..., Any]:
    """step(state, batch, ...) becomes (params, state, batch, ...), for a batch with the "sentence"
    of each caption in place of its "semantics"; `count` parts of it are embedded in turn.

    The encoder's parameters are an argument: as constants they would be compiled.
    """

    def embedded(params: Params, state: Any, batch: dict[str, Array], *more: Any) -> Any:
        own = {name: rows for name, rows in batch.items() if name != "sentence"}
        semantics = embed(module, params, batch["sentence"], count)
        return step(state, {**own, "semantics": semantics}, *more)

    return embedded


def embed(module: Bert, params: Params, ids: Int[Array, "B L"], count: int) -> Float[Array, "B S"]:
    """float32, L2-normalised, one of `count` parts at a time."""
    return microbatches.by_parts(lambda part: module.embed(params, part), ids, count)


def placed(params: Params, mesh: Mesh) -> Params:
    """A copy on every device of the mesh, which may span processes that each have read them."""
    everywhere = meshes.replicated(mesh)

    def place(array: Any) -> jax.Array:
        held = np.asarray(array)
        return jax.make_array_from_callback(held.shape, everywhere, held.__getitem__)

    copies: Params = jax.tree.map(place, params)
    return copies
