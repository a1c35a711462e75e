"""Every loss by name, ours and the reference's, and batches to try them on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from aligngap import objectives
from aligngap.models.logit_scale import bias_of

import reference

NAMES = (
    "contrastive",
    "grouped",
    "smoothed",
    "sigmoid",
    "relative",
    "separation",
    "rescaled",
    "alignment",
    "uniformity",
    "cross_uniformity",
    "centroid_uniformity",
    "cauchy_schwarz",
)
SIGMA = 0.7
SHARE = -0.05  # Of a sigmoid's bias b: r = 0.5 where b is −10.


def wanted(v, t, scale, bias, semantics, groups):
    """name → value, by the float64 reference."""
    c = reference.centroids(v, t)
    return {
        "contrastive": reference.contrastive(v, t, scale),
        "grouped": reference.contrastive(v, t, scale, groups=groups),
        "smoothed": reference.contrastive(v, t, scale, groups=groups, smoothing=0.1),
        "sigmoid": reference.sigmoid(v, t, scale, bias, groups),
        "relative": reference.sigmoid(v, t, scale, SHARE * bias, groups, relative=True),
        "separation": reference.separation(v, t, scale),
        "rescaled": reference.separation(v, t, scale, semantics),
        "alignment": reference.alignment(v, t),
        "uniformity": reference.potential(v, v, 2.0, same=True) if len(v) > 1 else 0.0,
        "cross_uniformity": reference.potential(v, t, 2.0, same=False) if len(v) > 1 else 0.0,
        "centroid_uniformity": reference.potential(c, c, 2.0, same=True) if len(v) > 1 else 0.0,
        "cauchy_schwarz": reference.cauchy_schwarz(v, t, SIGMA),
    }


def calls(v, t, scale, bias, semantics, groups, tile=None):
    """name → the call of the function that users know, not made yet."""
    relative = bias_of(SHARE * bias, scale, "relative")
    return {
        "contrastive": lambda: objectives.contrastive_loss(v, t, scale, tile=tile),
        "grouped": lambda: objectives.contrastive_loss(v, t, scale, groups=groups, tile=tile),
        "smoothed": lambda: objectives.contrastive_loss(
            v, t, scale, groups=groups, label_smoothing=0.1, tile=tile
        ),
        "sigmoid": lambda: objectives.sigmoid_loss(v, t, scale, bias, groups=groups, tile=tile),
        "relative": lambda: objectives.sigmoid_loss(
            v, t, scale, relative, groups=groups, tile=tile
        ),
        "separation": lambda: objectives.separation_loss(v, t, scale, tile=tile),
        "rescaled": lambda: objectives.separation_loss(v, t, scale, semantics=semantics, tile=tile),
        "alignment": lambda: objectives.alignment_loss(v, t),
        "uniformity": lambda: objectives.uniformity_loss(v, tile=tile),
        "cross_uniformity": lambda: objectives.cross_uniformity_loss(v, t, tile=tile),
        "centroid_uniformity": lambda: objectives.centroid_uniformity_loss(v, t, tile=tile),
        "cauchy_schwarz": lambda: objectives.cauchy_schwarz_loss(v, t, sigma=SIGMA, tile=tile),
    }


def ours(*inputs, tile=None):
    """name → value."""
    return {name: call() for name, call in calls(*inputs, tile=tile).items()}


@functools.cache  # What is traced is so for all tests.
def gradients(tile=None):
    """(v, t, scale, bias, semantics, groups) → each loss's value and its four gradients, jitted."""

    return jax.jit(lambda *x: {name: _gradient(name, tile, *x) for name in NAMES})


@functools.cache
def gradient(name, tile):
    """Of one loss, likewise."""
    return jax.jit(functools.partial(_gradient, name, tile))


def _gradient(name, tile, v, t, s, b, e, groups):
    return jax.value_and_grad(
        lambda *x: calls(*x, e, groups, tile=tile)[name](), argnums=(0, 1, 2, 3)
    )(v, t, s, b)


def clouds(unit_rows, batch, dimension, duplicates=False):
    """(images, texts, semantics, groups) in float64; duplicates: rows two by two share a text."""
    v, t, e = (unit_rows(batch, size, seed) for seed, size in enumerate((dimension, dimension, 16)))
    groups = np.arange(batch) // (2 if duplicates else 1)
    return (v, t[groups], e[groups], groups) if duplicates else (v, t, e, groups)


def single(*arrays):
    """As float32 JAX arrays; integers stay integers."""
    return [
        jnp.asarray(x, None if np.issubdtype(np.asarray(x).dtype, np.integer) else jnp.float32)
        for x in arrays
    ]
