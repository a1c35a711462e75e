"""Floating-point operations of a function, counted from its jaxpr.

XLA's own analysis counts the body of a scan once; here it counts as often as it runs.
Matrix products, convolutions and cuDNN's fused attention only: 2 FLOP a multiply-add. It is what
the hardware does: what a backward pass computes again counts again, and what no result needs does
not count, as XLA leaves it out.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.interpreters import partial_eval

# Products [L, K]·[K, M] a head that cuDNN's fused attention stands for: queries by keys and what is
# attended to; backwards the first again, and two gradients of each.
FUSED_ATTENTION = {"dot_product_attention_fwd": 2, "dot_product_attention_bwd": 5}


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """FLOP of one call; arguments may be ShapeDtypeStructs."""
    whole = jax.make_jaxpr(function)(*arguments).jaxpr
    return _jaxpr(partial_eval.dce_jaxpr(whole, True)[0])


def _jaxpr(jaxpr: Any) -> int:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _dot(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if (fused := name.removesuffix("_wrapper")) in FUSED_ATTENTION:
        return FUSED_ATTENTION[fused] * _attention(equation)
    if name == "cond":
        return max(_jaxpr(branch.jaxpr) for branch in equation.params["branches"])
    times = equation.params["length"] if name == "scan" else 1
    return times * sum(_jaxpr(inner) for inner in _inner(equation.params))


def _inner(parameters: dict[str, Any]) -> list[Any]:
    """The jaxprs that an equation calls (jit, scan, remat, custom derivatives, shard_map)."""
    values = [value for name, value in parameters.items() if name != "jvp_jaxpr_fun"]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(v, "jaxpr") or hasattr(v, "eqns")]


def _dot(equation: Any) -> int:
    left = equation.invars[0].aval.shape
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(left[axis] for axis in contracted)
    return 2 * depth * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    output_features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    taps = math.prod(kernel) // output_features
    return 2 * taps * math.prod(equation.outvars[0].aval.shape)


def _attention(equation: Any) -> int:
    """FLOP of one of its products: queries [B, L, H, K] or [B, H, L, K], keys with M in place of L;
    a causal mask changes nothing."""
    queries, keys = (variable.aval.shape for variable in equation.invars[:2])
    axis = 1 if equation.params["layout"] == 0 else 2
    return 2 * math.prod(queries) * int(keys[axis])
