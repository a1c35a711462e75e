"""Linear probes: multinomial logistic regression on L2-normalised features, and few-shot ones.

As Radford et al. 2021 (appendix A.3): L-BFGS to at most 1000 iterations; the strength λ of L2 is
searched on a validation split in [1e-6, 1e6] at eight steps a decade, around the peak of seven
coarse ones. Measures carry the names of LAION's CLIP_benchmark.
"""

from collections.abc import Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import Scores, spread
from aligngap.tasks.labelled import Rows
from aligngap.tasks.logistic_regression import Classifier, Regression, prepared
from aligngap.tasks.retrieval import expected_hits
from aligngap.unit import unit_rows_numpy

PER_DECADE, DECADES, COARSE = 8, 6, 16  # λ = 10^(e / 8), |e| ≤ 48, at first every 16th e.
# AlignCLIP's protocol; the size of its batches is ours.
EPOCHS, LEARNING_RATE, WEIGHT_DECAY, BATCH = 32, 0.005, 0.01, 256


def choose(train: Rows, validation: Rows) -> Classifier:
    """The classifier of the λ that has the best validation accuracy; of equals the largest."""
    if not np.isin(validation.labels, train.labels).any():
        raise AligngapError("no validation row has a class that was trained on: λ has no choice")
    regression = Regression(train)
    found: dict[int, tuple[float, Classifier]] = {}
    widest, step = PER_DECADE * DECADES, COARSE
    tried = list(range(-widest, widest + 1, COARSE))
    while step:
        # From strong to weak: each starts where its neighbour ended.
        for exponent in sorted(set(tried) - found.keys(), reverse=True):
            near = min(found, key=lambda e: abs(e - exponent), default=None)
            start = None if near is None else found[near][1]
            made = regression.fit(10 ** (exponent / PER_DECADE), start)
            found[exponent] = float(hits(made, validation)[:, 0].mean()), made
        best = max(found, key=lambda e: (found[e][0], e))
        step //= 2
        tried = [e for e in (best - step, best + step) if abs(e) <= widest]
    return found[best][1]


def fit_by_adamw(train: Rows, seed: int) -> Classifier:
    """AlignCLIP's protocol: AdamW at .005, weight decay .01, cosine to 0, 32 epochs.

    Each epoch is shuffled anew, and its last rows that fill no batch are left out.
    """
    rows, classes, target = prepared(train)
    features = jnp.asarray(np.c_[rows, np.ones_like(rows[:, :1])])
    parameters = _adamw(features, target, jax.random.key(seed), len(classes))
    weights, biases = np.split(np.asarray(parameters, np.float64), [-1], axis=1)
    return Classifier(weights, biases[:, 0], classes)


def hits(classifier: Classifier, test: Rows) -> Float[np.ndarray, "N 2"]:
    """Whether a row's class is among the best 1 and 5, ties by expectation; a class that was never
    trained is never found."""
    known = np.isin(test.labels, classifier.classes)
    found = np.zeros((len(known), 2))
    if known.any():
        rows = unit_rows_numpy(np.asarray(test.features, np.float64)[known])
        queries = np.c_[rows, np.ones(len(rows))]  # The bias is one more product.
        candidates = np.c_[classifier.weights, classifier.biases]
        labels = test.labels[known], classifier.classes
        found[known] = expected_hits(queries, candidates, *labels, ks=(1, 5))
    return found


def evaluate(
    classifier: Classifier, test: Rows, clusters: Int[np.ndarray, "N"], seed: int
) -> dict[str, Interval]:
    """Those of `scores`, as measures with intervals."""
    found = scores(classifier, test, clusters)
    return {name: each.interval(seed) for name, each in found.items()}


def scores(classifier: Classifier, test: Rows, clusters: Int[np.ndarray, "N"]) -> dict[str, Scores]:
    """lp_acc1, lp_acc5 and lp_mean_per_class_recall (over the classes that occur), beside the
    chance of a guess among the trained classes; rows of a cluster are drawn together."""
    chex.assert_equal_shape([test.labels, clusters])
    top1, top5 = hits(classifier, test).T
    one, five, mean = _chances(classifier, test)
    return {
        "lp_acc1": Scores(top1, clusters, one),
        "lp_acc5": Scores(top5, clusters, five),
        "lp_mean_per_class_recall": Scores(top1, clusters, mean, test.labels),
    }


def few_shot(
    train: Rows, validation: Rows, test: Rows, shots: int, seeds: Sequence[int]
) -> dict[str, Interval]:
    """The values of `evaluate` with `shots` training rows a class, drawn once a seed; λ is chosen
    on all validation rows for each draw. Mean, least and greatest of the draws."""
    drawn: dict[str, list[float]] = {}
    for seed in seeds:
        made = choose(train.take(draw(train.labels, shots, seed)), validation)
        top1, top5 = hits(made, test).T
        _, own = np.unique(test.labels, return_inverse=True)
        recall = np.bincount(own, top1) / np.bincount(own)
        values = top1.mean(), top5.mean(), recall.mean()
        for name, value in zip(_NAMES, values, strict=True):
            drawn.setdefault(name, []).append(float(value))
    chances = dict(zip(_NAMES, _chances(made, test), strict=True))
    return {name: spread(values, chances[name]) for name, values in drawn.items()}


_NAMES = ("lp_acc1", "lp_acc5", "lp_mean_per_class_recall")


def draw(labels: Int[np.ndarray, "N"], shots: int, seed: int) -> Int[np.ndarray, "R"]:
    """`shots` rows of each class at random; AligngapError where a class has fewer."""
    classes, counts = np.unique(labels, return_counts=True)
    if np.min(counts) < shots:
        raise AligngapError(
            f"{shots} shots: a class has only {np.min(counts)} training rows; "
            "give fewer shots or coarser labels"
        )
    random = np.random.default_rng(seed)
    found = [random.choice(np.flatnonzero(labels == c), shots, replace=False) for c in classes]
    return np.sort(np.concatenate(found))


@partial(jax.jit, static_argnames="count")
def _adamw(
    rows: Float[Array, "N D+1"], target: Int[Array, "N"], key: PRNGKeyArray, count: int
) -> Float[Array, "C D+1"]:
    batch = min(BATCH, len(rows))
    steps = len(rows) // batch
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * steps)
    optimizer = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
    start = jnp.zeros((count, rows.shape[1]))

    def step(
        held: tuple[Array, optax.OptState], chosen: Array
    ) -> tuple[tuple[Array, optax.OptState], None]:
        parameters, state = held
        slope = jax.grad(_mean_loss)(parameters, rows[chosen], target[chosen])
        change, state = optimizer.update(slope, state, parameters)
        return (optax.apply_updates(parameters, change), state), None

    def epoch(
        held: tuple[Array, optax.OptState], key: PRNGKeyArray
    ) -> tuple[tuple[Array, optax.OptState], None]:
        order = jax.random.permutation(key, len(rows))[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(step, held, order)

    (parameters, _), _ = jax.lax.scan(
        epoch, (start, optimizer.init(start)), jax.random.split(key, EPOCHS)
    )
    return parameters


def _mean_loss(parameters: Array, rows: Array, target: Array) -> Float[Array, ""]:
    scores = jnp.matmul(rows, parameters.T, precision="highest")
    return optax.softmax_cross_entropy_with_integer_labels(scores, target).mean()


def _chances(classifier: Classifier, test: Rows) -> tuple[float, float, float]:
    """Of each measure, for a guess among the trained classes: those of others it never finds."""
    count, names = len(classifier.classes), np.unique(test.labels)
    known = float(np.isin(test.labels, classifier.classes).mean())
    found = float(np.isin(names, classifier.classes).mean())
    return known / count, known * min(5, count) / count, found / count
