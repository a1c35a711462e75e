"""What is measured of cones: how narrow they are, whether they part, what drawing them decides.

Features h of a network with random parameters Θ on an input U are L2-normalised. With w the mean
cosine of two inputs under one initialisation and b that under two independent ones, the law of
total variance, tr Var h = tr Var E[h|Θ] + E tr Var[h|Θ], reads 1 − b = (w − b) + (1 − w): the share
of the variance that is due to the initialisation is (w − b) / (1 − b). It lies between w − b and w:
it is the mean cosine itself where the initialisations' cones have no direction in common (b = 0).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

HELD_OUT = 0.2  # Share of the inputs.


class Share(NamedTuple):
    """Of the variance that is due to the initialisation; 95 % by the jackknife over these."""

    value: float
    low: float
    high: float
    within: float  # w: the upper bound.
    between: float  # b: w − b is the lower bound.


class Cones(NamedTuple):
    """What initialisations of one network make of one kind of input."""

    cosines: Float[np.ndarray, "K K"]  # Mean over two inputs, under initialisations k and l.
    share: Share
    accuracy: float  # Of telling the initialisation from the features of held-out inputs.
    inputs: int


def cones_of(features: Float[np.ndarray, "K N D"], seed: int) -> Cones:
    """All that is measured of unit features of N inputs under K initialisations."""
    cosines = mean_cosines(features)
    share, accuracy = variance_share(cosines), told_apart(features, seed)
    return Cones(cosines, share, accuracy, features.shape[1])


def mean_cosines(features: Float[np.ndarray, "K N D"]) -> Float[np.ndarray, "K K"]:
    """Mean cosine of two DISTINCT inputs under initialisations k and l, for L2-normalised rows."""
    count = features.shape[1]
    sums = features.sum(axis=1, dtype=np.float64)
    flat = features.reshape(len(features), -1)
    return (sums @ sums.T - flat @ flat.T) / (count * (count - 1))


def variance_share(cosines: Float[np.ndarray, "K K"]) -> Share:
    """The share that the initialisation has in the variance of unit features: see the room's top.

    `cosines` as of `mean_cosines`, of K ≥ 3 initialisations. In [w − b, w].
    """
    within, between = _within_and_between(cosines)
    value, count = (within - between) / (1 - between), len(cosines)
    left_out = []
    for k in range(count):
        w, b = _within_and_between(np.delete(np.delete(cosines, k, axis=0), k, axis=1))
        left_out.append((w - b) / (1 - b))
    half = 1.96 * float(np.sqrt((count - 1) * np.var(left_out)))
    return Share(value, value - half, value + half, within, between)


def told_apart(features: Float[np.ndarray, "K N D"], seed: int) -> float:
    """Accuracy of a linear classifier that names the initialisation, on inputs it has never seen.

    Multinomial logistic regression; an input is on one side of the split for all initialisations.
    """
    initialisations, count, dimension = features.shape
    order = np.random.default_rng(seed).permutation(count)
    test, train = np.split(order, [max(round(HELD_OUT * count), 1)])
    model = LogisticRegression(max_iter=1000)
    labels = np.arange(initialisations)
    model.fit(features[:, train].reshape(-1, dimension), labels.repeat(len(train)))
    return float(model.score(features[:, test].reshape(-1, dimension), labels.repeat(len(test))))


def _within_and_between(cosines: Float[np.ndarray, "K K"]) -> tuple[float, float]:
    """w and b; b is the squared length of a mean, so an estimate of it below 0 becomes 0."""
    count, own = len(cosines), float(np.trace(cosines))
    between = (float(cosines.sum()) - own) / (count * (count - 1))
    return own / count, max(between, 0.0)
