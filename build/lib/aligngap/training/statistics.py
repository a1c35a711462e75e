"""What a step says of itself on request: norms by layer, the gap of the batch."""

from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aligngap import gap

BLOCKS = "blocks"  # Under it, arrays have the layers as their first axis.


def norms_by_layer(tree: Any, name: str) -> dict[str, Float[Array, ""]]:
    """name/part or name/part/layer → the Euclidean norm of what lies there, in float32."""
    squares: dict[str, Array] = defaultdict(lambda: jnp.zeros(()))
    for path, leaf in jax.tree.leaves_with_path(tree):
        keys = [entry.key for entry in path]
        own = jnp.square(leaf.astype(jnp.float32))
        if BLOCKS in keys:
            of_layers = own.reshape(len(leaf), -1).sum(axis=1)
            for layer, value in enumerate(of_layers):
                squares[f"{name}/{keys[0]}/{layer:02}"] += value
        else:
            squares[f"{name}/{keys[0]}"] += own.sum()
    return {key: jnp.sqrt(value) for key, value in squares.items()}


def embeddings(
    image: Float[Array, "B D"], text: Float[Array, "B D"]
) -> dict[str, Float[Array, ""]]:
    """Gap measures of one batch, linear in B."""
    return {
        "batch/centroid_distance": gap.centroid_distance(image, text),
        "batch/alignment_score": gap.alignment_score(image, text),
        "batch/mean_pairwise_cosine_image": gap.mean_pairwise_cosine(image),
        "batch/mean_pairwise_cosine_text": gap.mean_pairwise_cosine(text),
    }
