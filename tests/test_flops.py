"""The count against products whose FLOP are known."""

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn.fused_attention_stablehlo import (  # No public name has its primitives.
    AttentionLayout,
    MaskType,
    _dot_product_attention_bwd_p_wrapper,
    _dot_product_attention_fwd_p_wrapper,
)

from aligngap import flops

A, B = jax.ShapeDtypeStruct((4, 8), "float32"), jax.ShapeDtypeStruct((8, 16), "float32")
PRODUCT = 2 * 4 * 8 * 16


def test_a_product_and_its_gradients():
    assert flops.count(jnp.dot, A, B) == PRODUCT
    both = jax.grad(lambda a, b: jnp.sum(jnp.dot(a, b) ** 2), argnums=(0, 1))
    assert flops.count(both, A, B) == 3 * PRODUCT


def test_a_batched_product():
    x = jax.ShapeDtypeStruct((5, 4, 8), "float32")
    assert flops.count(lambda x, b: jnp.einsum("nab,bc->nac", x, b), x, B) == 5 * PRODUCT


def test_a_scan_counts_as_often_as_it_runs():
    square = jax.ShapeDtypeStruct((8, 8), "float32")

    def scanned(a, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), a, length=7)[0]

    assert flops.count(scanned, A, square) == 7 * 2 * 4 * 8 * 8


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
def test_through_wrappers(wrap):
    assert flops.count(wrap(jnp.dot), A, B) == PRODUCT


def test_recomputation_is_counted():
    f = jax.checkpoint(lambda a, b: jnp.sin(jnp.dot(a, b)))
    both = jax.value_and_grad(lambda a, b: jnp.sum(f(a, b)), argnums=(0, 1))
    assert flops.count(both, A, B) == 4 * PRODUCT


def test_custom_derivatives_count_once():
    @jax.custom_vjp
    def f(a, b):
        return jnp.dot(a, b)

    f.defvjp(lambda a, b: (jnp.dot(a, b), (a, b)), lambda r, g: (g @ r[1].T, r[0].T @ g))
    assert flops.count(f, A, B) == PRODUCT
    both = jax.value_and_grad(lambda a, b: f(a, b).sum(), argnums=(0, 1))
    assert flops.count(both, A, B) == 3 * PRODUCT
    one = jax.value_and_grad(lambda a, b: f(a, b).sum())  # Both are made, XLA leaves one out.
    assert flops.count(one, A, B) == 2 * PRODUCT


def test_the_dearer_branch():
    f = lambda p, a, b: jax.lax.cond(p, lambda: jnp.dot(a, b), lambda: jnp.zeros((4, 16)))  # noqa: E731
    assert flops.count(f, True, A, B) == PRODUCT


def test_a_convolution():
    x, k = jnp.zeros((2, 8, 8, 3)), jnp.zeros((4, 4, 3, 5))
    f = lambda x, k: jax.lax.conv_general_dilated(x, k, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))  # noqa: E731, E501 # fmt: skip
    assert flops.count(f, x, k) == 2 * (4 * 4 * 3) * (2 * 2 * 2 * 5)


@pytest.mark.parametrize("layout", [AttentionLayout.BTNH, AttentionLayout.BNTH])
def test_fused_attention_counts_as_its_products(layout):
    """cuDNN's primitives, traced without a GPU: two products forward, five backward."""
    heads_first = layout is AttentionLayout.BNTH
    shapes = [(2, 3, length, 16) if heads_first else (2, length, 3, 16) for length in (8, 10, 10)]
    query, key, value = (jnp.zeros(shape, jnp.bfloat16) for shape in shapes)
    none = [jnp.zeros(0, jnp.int32)] * 4
    common = {
        **{"scale": 1.0, "seed": 0, "dropout_rate": 0.0, "variadic_args": (False, False)},
        **{"mask_type": MaskType.NO_MASK, "layout": layout.value, "sliding_window_length": None},
    }

    def forward(query, key, value):
        given = (query, key, value, query, *none, *none[:2])
        return _dot_product_attention_fwd_p_wrapper.bind(*given, **common, is_training=True)

    def backward(query, key, value):
        out, kept = forward(query, key, value)
        given = (query, key, value, query, *none, *none[:2], kept, out, out)
        return _dot_product_attention_bwd_p_wrapper.bind(*given, **common)

    product = 2 * (2 * 3 * 8 * 10 * 16)
    assert flops.count(forward, query, key, value) == 2 * product
    assert flops.count(backward, query, key, value) == (2 + 5) * product
