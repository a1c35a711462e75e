"""Moving two clouds along the gap between them (Liang et al. 2022, section 4.2)."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from aligngap.gap.formulas import centroid_distance
from aligngap.gap.measures import gap_vector
from aligngap.unit import unit_rows

MOVES = ("both", "image", "text")


def shift(
    image: Float[ArrayLike, "N D"],
    text: Float[ArrayLike, "M D"],
    delta: Float[ArrayLike, ""],
    *,
    vector: Float[ArrayLike, "D"] | None = None,
    unit: bool = True,
    move: str = "both",
) -> tuple[Float[Array, "N D"], Float[Array, "M D"]]:
    """Images moved against the gap vector and texts along it, rows normalised again.

    unit=True (the authors' code): `delta` along the unit gap vector, half of it a side when both
    move. unit=False (the paper): `delta` times the gap vector, in full on each side that moves.
    `vector` may be the gap vector of other pairs; one of length 0 moves nothing.
    """
    if move not in MOVES:
        raise ValueError(f"move={move!r} is none of {', '.join(MOVES)}")
    vector = gap_vector(image, text) if vector is None else vector
    v, t, along = (jnp.asarray(x, jnp.float32) for x in (image, text, vector))
    step = delta * (unit_rows(along) * (0.5 if move == "both" else 1.0) if unit else along)
    return (
        v if move == "text" else unit_rows(v - step),
        t if move == "image" else unit_rows(t + step),
    )


def signed_gap(
    image: Float[ArrayLike, "N D"],
    text: Float[ArrayLike, "M D"],
    direction: Float[ArrayLike, "D"],
) -> Float[Array, ""]:
    """‖Δ‖, negative where Δ points against `direction`, the gap vector before the shift.

    The sign is the authors': past the closed gap the clouds have changed sides.
    """
    vector = gap_vector(image, text)
    along = jnp.sum(vector * jnp.asarray(direction, jnp.float32))
    return centroid_distance(vector) * jnp.where(along < 0, -1.0, 1.0)
