"""The learnable scale s = 1/τ of the logits, as a function of its parameter."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
