"""Multinomial logistic regression of L2-normalised features, with L2 on its weights.

Embeddings lie in a cone and along few axes, where L-BFGS takes hundreds of steps and stops short of
the minimum. So it works on rows about their mean, along their principal axes, each scaled to be as
steep as the others: the same minimum, in a tenth of the steps and by more digits, so that the
choice of λ hangs neither on the order of rows nor on how many threads add them up.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from aligngap.errors import AligngapError
from aligngap.tasks.labelled import Rows
from aligngap.unit import unit_rows_numpy

ITERATIONS = 1000
SMALLEST = 1e-7  # Of a variance, as a share of the largest: float32 knows no smaller ones.


class Classifier(NamedTuple):
    """Scores of the classes that it was trained on: features · weightsᵀ + biases."""

    weights: Float[np.ndarray, "C D"]
    biases: Float[np.ndarray, "C"]
    classes: Int[np.ndarray, "C"]
    l2: float = 0.0  # λ, where one was chosen or given.


class Regression:
    """Of one set of rows, for any λ. Products run in float32 on JAX's device."""

    def __init__(self, train: Rows) -> None:
        rows, self._classes, self._target = prepared(train)
        self._mean = rows.mean(axis=0, dtype=np.float64)
        centred = jnp.asarray(rows - self._mean.astype(np.float32))
        covariance = np.asarray(_product(centred.T, centred), np.float64) / len(rows)
        variances, self._axes = np.linalg.eigh(covariance)
        self._variances = np.maximum(variances, SMALLEST * max(variances[-1], 0.0))
        turned = _product(centred, jnp.asarray(self._axes, jnp.float32))
        self._rows = jnp.concatenate([turned, jnp.ones_like(turned[:, :1])], axis=1)

    def fit(self, l2: float, start: Classifier | None = None) -> Classifier:
        """Minimises Σ cross-entropy + λ/2 ‖weights‖² (scikit-learn's with C = 1/λ); `start` saves
        steps."""
        count, classes = len(self._target), len(self._classes)
        # The second derivatives where all classes are equally likely, but for 1 − 1/C.
        steepness = np.r_[self._variances / classes + l2 / count, 1 / classes]
        scale = 1 / np.sqrt(steepness)
        decay = np.r_[np.full(len(scale) - 1, l2), 0.0] * scale**2

        def loss(flat: Float[np.ndarray, "P"]) -> tuple[float, Float[np.ndarray, "P"]]:
            own = flat.reshape(classes, -1)
            losses, slope = _losses(jnp.asarray(own * scale, jnp.float32), self._rows, self._target)
            # In float64: near the minimum, float32's sum of many rows tells no step from another.
            value = np.asarray(losses, np.float64).sum() + np.sum(decay * own**2) / 2
            whole = np.asarray(slope, np.float64) * scale + decay * own
            return value / count, whole.reshape(-1) / count

        first = np.zeros((classes, len(scale))) if start is None else self._within(start) / scale
        limits = {"maxiter": ITERATIONS, "gtol": 1e-6, "ftol": 1e-9}
        found = minimize(loss, first.reshape(-1), jac=True, method="L-BFGS-B", options=limits)
        own = found.x.reshape(classes, -1) * scale
        weights = own[:, :-1] @ self._axes.T
        return Classifier(weights, own[:, -1] - weights @ self._mean, self._classes, l2)

    def _within(self, given: Classifier) -> Float[np.ndarray, "C D+1"]:
        """Its weights along the axes, and what it scores the mean."""
        return np.c_[given.weights @ self._axes, given.biases + given.weights @ self._mean]


def prepared(
    train: Rows,
) -> tuple[Float[np.ndarray, "N D"], Int[np.ndarray, "C"], Int[Array, "N"]]:
    """Unit rows in float32, the classes, and each row's place among these; AligngapError where
    there is nothing to learn."""
    chex.assert_equal_shape_prefix([train.features, train.labels], 1)
    classes, target = np.unique(train.labels, return_inverse=True)
    if len(classes) < 2:
        raise AligngapError(
            f"a linear probe needs rows of at least two classes to train on, found {len(classes)}"
        )
    bad = np.flatnonzero(~np.isfinite(train.features).all(axis=1))
    if bad.size:
        raise AligngapError(f"training row {bad[0]} of {len(target)} is not finite: no probe")
    rows = unit_rows_numpy(np.asarray(train.features, np.float32))
    return rows, classes, jnp.asarray(target)


@jax.jit
def _losses(
    parameters: Float[Array, "C D+1"], rows: Float[Array, "N D+1"], target: Int[Array, "N"]
) -> tuple[Float[Array, "N"], Float[Array, "C D+1"]]:
    """Cross-entropy of each row, and the gradient of their sum."""

    def summed(own: Float[Array, "C D+1"]) -> tuple[Float[Array, ""], Float[Array, "N"]]:
        scores = _product(rows, own.T)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, target)
        return losses.sum(), losses

    slope, losses = jax.grad(summed, has_aux=True)(parameters)
    return losses, slope


def _product(one: Float[Array, "I J"], other: Float[Array, "J K"]) -> Float[Array, "I K"]:
    return jnp.matmul(one, other, precision="highest")
