"""A transform as what stores can compute themselves: rows times a matrix, plus a vector."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.errors import AligngapError
from aligngap.gap.transforms import GapTransform
from aligngap.gap.transforms.maps import Affine


class Step(NamedTuple):
    """n(x · weight + bias), n(x) = x / ‖x‖."""

    weight: Float[np.ndarray, "D D"]
    bias: Float[np.ndarray, "D"]


def steps(transform: GapTransform, modality: str) -> list[Step]:
    """What happens to n(x) of a modality, one after the other, in float64; AligngapError for
    methods that are not linear (spectral, transport)."""
    return [_step(each, transform.method, modality) for each in transform.maps_of(modality)]


def bias(transform: GapTransform, modality: str) -> Float[np.ndarray, "D"]:
    """What is added to n(x) where nothing else happens, as with `mean`: minus its mean.
    AligngapError for methods that do more."""
    found = steps(transform, modality)
    if len(found) != 1 or not np.array_equal(found[0].weight, np.eye(len(found[0].weight))):
        raise AligngapError(
            f"--method={transform.method} does not merely add something to {modality} rows; "
            "transform them yourself, with GapTransform.apply"
        )
    return found[0].bias


def _step(each: object, method: str, modality: str) -> Step:
    if not isinstance(each, Affine):
        raise AligngapError(
            f"--method={method} is not linear in {modality} rows: no store can do it; transform "
            "them yourself, with GapTransform.apply"
        )
    weight = each.weight
    if weight.ndim < 2:
        weight = np.diag(np.broadcast_to(weight, each.origin.shape))
    return Step(weight, each.target - each.origin @ weight)
