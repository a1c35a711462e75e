"""The learnable scale s = 1/τ of the logits and their bias, as functions of their parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

Number = Float[Array, ""] | float


def scale_of(parameter: Number, form: str) -> Float[Array, ""]:
    """s: exp(parameter) as in CLIP, or softplus(parameter), which grows slower (Yaras et al.)."""
    return jax.nn.softplus(parameter) if form == "softplus" else jnp.exp(parameter)


def parameter_of(scale: Number, form: str) -> Float[Array, ""]:
    """The inverse of `scale_of`, for s > 0."""
    scale = jnp.asarray(scale, jnp.float32)
    if form == "softplus":
        return scale + jnp.log(-jnp.expm1(-scale))  # log(e^s − 1) where e^s would overflow
    return jnp.log(scale)


def bias_of(parameter: Number, scale: Number, form: str) -> Float[Array, ""]:
    """b of the logits s·cos + b: the parameter, or −s·r of a relative one, whose logits are
    s·(cos − r) (arXiv 2509.18552)."""
    return jnp.asarray(-scale * parameter if form == "relative" else parameter)


def with_bias_form(params: Any, own: ConfigDict, form: str) -> Any:
    """Parameters of a model with the config `own` whose bias, if any, has another form: the same
    logits."""
    if "logit_bias" not in params or own.bias_form == form:
        return params
    scale = scale_of(params["logit_scale"], own.scale_form)
    bias = bias_of(params["logit_bias"], scale, own.bias_form)
    return {**params, "logit_bias": -bias / scale if form == "relative" else bias}
