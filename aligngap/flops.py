"""Floating-point operations of a function, counted from its jaxpr.

XLA's own analysis counts the body of a scan once; here it counts as often as it runs.
Matrix products and convolutions only: 2 FLOP a multiply-add.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """FLOP of one call; arguments may be ShapeDtypeStructs."""
    return _jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _jaxpr(jaxpr: Any) -> int:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _dot(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
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
