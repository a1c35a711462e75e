"""The parts of a block against float64 NumPy, and the layouts that they choose on a mesh."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import flops
from aligngap.models import transformer
from aligngap.models.transformer import Dense, affine, attend
from aligngap.parallel import mesh as meshes
from aligngap.presets import preset

RANDOM = np.random.default_rng(0)
STEP = 1e-6  # Of central differences in float64.


def rows(*shape):
    return RANDOM.normal(size=shape)


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("inputs", "features"), [(5, 9), (9, 5)])  # Contracted either way round.
def test_affine_and_its_gradients(inputs, features):
    x, kernel, bias, gradient = (
        rows(7, inputs),
        rows(inputs, features),
        rows(features),
        rows(7, features),
    )
    given = [jnp.asarray(a, jnp.float32) for a in (x, kernel, bias)]
    value, back = jax.vjp(affine, *given)
    close(value, x @ kernel + bias)
    expected = gradient @ kernel.T, x.T @ gradient, gradient.sum(0)
    for found, wanted in zip(back(jnp.asarray(gradient, jnp.float32)), expected, strict=True):
        close(found, wanted)


def attention_of(query, key, value, seen):
    """In float64."""
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    weights = np.exp(np.where(seen, scores, -np.inf))
    return weights / weights.sum(-1, keepdims=True) @ value


@pytest.mark.parametrize("seen", [None, np.tri(6, dtype=bool)[None, None]], ids=["all", "causal"])
def test_attention_and_its_gradients(seen):
    given, gradient = [rows(2, 3, 6, 4) for _ in range(3)], rows(2, 3, 6, 4)
    mask = np.ones((1, 1, 6, 6), bool) if seen is None else seen
    floats = [jnp.asarray(a, jnp.float32) for a in given]
    value, back = jax.vjp(lambda *qkv: attend(*qkv, seen), *floats)
    close(value, attention_of(*given, mask))
    for i, found in enumerate(back(jnp.asarray(gradient, jnp.float32))):
        direction = rows(2, 3, 6, 4)
        ends = [
            (
                attention_of(*given[:i], given[i] + sign * STEP * direction, *given[i + 1 :], mask)
                * gradient
            ).sum()
            for sign in (1, -1)
        ]
        close(
            (np.asarray(found, np.float64) * direction).sum(),
            (ends[0] - ends[1]) / (2 * STEP),
            1e-4,
        )


@pytest.mark.parametrize("tensor", [1, 2])
def test_a_kernel_whose_heads_are_split_is_not_made_flat(tensor):
    """Flat, each device would have to gather all of it for every product."""
    config = preset("clip")
    config.mesh.update(data=8 // tensor, fsdp=1, tensor=tensor)
    mesh = meshes.make(config)
    dense = Dense((3, 4, 8), 0.1, ("embed", "qkv", "heads", "head_dim"), jnp.float32)
    x = jnp.asarray(rows(8, 5, 16), jnp.float32)
    params = jax.tree.map(jnp.asarray, dense.init(jax.random.key(0), x))

    def product(x):
        return dense.apply(params, x)

    with jax.set_mesh(mesh):
        program = str(jax.make_jaxpr(meshes.with_rules(product))(x))
    assert ("custom_vjp" in program) == (tensor == 1)
    plain = np.tensordot(np.asarray(x), np.asarray(jax.tree.leaves(params)[-1]), 1)
    close(jax.jit(product)(x), plain, 1e-5)


def test_gradients_of_a_block_are_alike_flat_and_split():
    x = jnp.asarray(rows(8, 5, 32), jnp.float32)
    block = transformer.Block(32, 4, 4.0, 2, "gelu", 1e-5, "xla", jnp.float32)
    params = block.init(jax.random.key(1), x, True)
    gradients = []
    for tensor in (1, 2):
        config = preset("clip")
        config.mesh.update(data=8 // tensor, fsdp=1, tensor=tensor)

        def loss(params, x):
            return jnp.sum(jnp.sin(block.apply(params, x, True)))

        with jax.set_mesh(meshes.make(config)):
            gradients.append(jax.jit(meshes.with_rules(jax.grad(loss)))(params, x))
    for flat, split in zip(*map(jax.tree.leaves, gradients), strict=True):
        close(flat, split, 1e-4)


def test_a_product_each_is_the_whole_product():
    """Values and gradients of what cuDNN gets, one by one, and of what all others get."""
    dense = Dense((3, 4, 8), 0.1, ("embed", "qkv", "heads", "head_dim"), jnp.float32)
    x, weights = (jnp.asarray(rows(*shape), jnp.float32) for shape in ((2, 5, 16), (2, 5, 3, 4, 8)))
    params = dense.init(jax.random.key(0), x)

    def summed(params, x, apart):
        found = dense.apply(params, transformer._times(x, 3) if apart else x)
        return jnp.sum(jnp.sin(jnp.stack(found, axis=2) if apart else found) * weights)

    found, wanted = (jax.grad(summed, (0, 1))(params, x, apart) for apart in (True, False))
    jax.tree.map(close, found, wanted)


def every_third(x):
    """[B, L, ...] → [2·B, 1, ...]: two tokens of a row, on rows of their own."""
    return x[:, 1:5:3].reshape(-1, 1, *x.shape[2:])


SEGMENTS = jnp.asarray([[0, 0, 1, 1, 1, 2, 2]] * 3)
WANTED = {
    "first": (False, None, lambda x: x[:, :1]),
    "last": (False, None, lambda x: x[:, -1:]),
    "last, causal": (True, None, lambda x: x[:, -1:]),
    "another in each row": (True, None, lambda x: jnp.stack([x[0, 2], x[1, 6], x[2, 0]])[:, None]),
    "several of a packed row": (True, SEGMENTS, every_third),
}


@pytest.mark.parametrize("cudnn", [False, True])
@pytest.mark.parametrize(("layers", "remat", "scan"), [(1, "none", False), (3, "dots", True)])
@pytest.mark.parametrize("name", WANTED)
def test_wanted_tokens_are_those_of_all(name, layers, remat, scan, cudnn, monkeypatch):
    """What the last block does not compute changes neither values nor gradients, odd lengths that
    a GPU's kernel wants even included."""
    causal, segments, wanted = WANTED[name]
    x = jnp.asarray(rows(3, 7, 16), jnp.float32)
    attention = jax.nn.dot_product_attention

    def without_cudnn(*args, implementation, **kwargs):
        return attention(*args, **kwargs)

    if cudnn:
        monkeypatch.setattr(transformer, "by_cudnn", lambda *_: True)
        monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)
    module = transformer.Transformer(
        16, layers, 4, 4.0, "gelu", 1e-5, "auto", jnp.float32, remat, scan
    )
    params = nn.unbox(module.init(jax.random.key(0), x, causal))
    params = jax.tree.map(lambda p: p + 0.1 * jnp.asarray(rows(*p.shape), jnp.float32), params)

    def summed(params, x, all_):
        own = None if all_ else wanted
        found = module.apply(params, x, causal, segments, own)
        found = wanted(found) if all_ else found
        return jnp.sum(jnp.sin(found)), found

    both = [
        jax.jit(jax.value_and_grad(summed, (0, 1), True), static_argnums=2)(params, x, all_)
        for all_ in (True, False)
    ]
    jax.tree.map(lambda a, b: close(a, b, 2e-5), *both)


def test_the_last_block_computes_no_other_tokens():
    """Behind attention; of 64 tokens, that is nearly all of its products."""
    x = jax.ShapeDtypeStruct((2, 64, 32), jnp.float32)
    module = transformer.Transformer(32, 1, 4, 4.0, "gelu", 1e-5, "xla", jnp.float32, "none", False)
    params = nn.unbox(jax.eval_shape(lambda x: module.init(jax.random.key(0), x, True), x))
    done = [
        flops.count(lambda p, x, w=w: module.apply(p, x, True, None, w), params, x)
        for w in (None, lambda x: x[:, -1:])
    ]
    width, rows_ = 32, 2 * 63  # The query, attention, the output and the MLP of the others.
    assert done[0] - done[1] == rows_ * ((2 + 2 + 16) * width**2 + 4 * 64 * width)
