"""k-means over both modalities together, against classes: does one cluster hold a class's images
and its texts, or each modality by itself?

The protocol of CL_gap's code: unit rows of images and of their texts in one pool, scikit-learn's
k-means with as many clusters as classes, V-measure (Rosenberg & Hirschberg 2007).
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from aligngap.errors import AligngapError
from aligngap.intervals import Interval
from aligngap.tasks.intervals import spread
from aligngap.tasks.labelled import Rows
from aligngap.unit import unit_rows_numpy

SEEDS = (0, 1, 2, 3, 4)


def evaluate(image: Rows, text: Rows, seeds: Sequence[int] = SEEDS) -> dict[str, Interval]:
    """v_measure and nmi of "pooled", and of "image" and "text" alone; rows with a class each.

    Mean, least and greatest over the seeds. NMI is normalised by the geometric mean (Strehl &
    Ghosh 2002): by the arithmetic one it would be the V-measure once more. Chance is that of the
    same clusters with their members shuffled, which grows with the number of classes.
    """
    both = zip(image, text, strict=True)
    pools = {"pooled": Rows(*map(np.concatenate, both)), "image": image, "text": text}
    return {
        f"{name}/{measure}": found
        for name, pool in pools.items()
        for measure, found in agreement(*pool, seeds).items()
    }


def agreement(
    rows: Float[np.ndarray, "N D"], classes: Int[np.ndarray, "N"], seeds: Sequence[int]
) -> dict[str, Interval]:
    """v_measure and nmi of the clusters of one pool with its classes."""
    from sklearn import metrics  # Seconds that training need not wait.

    measures = {
        "v_measure": metrics.v_measure_score,
        "nmi": lambda a, b: metrics.normalized_mutual_info_score(a, b, average_method="geometric"),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in measures}
    for seed in seeds:
        clusters = assign(rows, len(np.unique(classes)), seed)
        shuffled = np.random.default_rng(seed).permutation(clusters)
        for name, measure in measures.items():
            found[name].append((measure(classes, clusters), measure(classes, shuffled)))
    columns = {name: np.transpose(pairs) for name, pairs in found.items()}
    return {name: spread(x.tolist(), float(chance.mean())) for name, (x, chance) in columns.items()}


def assign(rows: Float[np.ndarray, "N D"], count: int, seed: int) -> Int[np.ndarray, "N"]:
    """The cluster of each row; AligngapError for fewer rows than clusters, and for no numbers."""
    from sklearn.cluster import KMeans

    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"embedding {bad[0]} of {len(rows)} is not finite: nothing to cluster")
    if count > len(rows):
        raise AligngapError(f"{len(rows)} embeddings cannot make {count} clusters")
    with warnings.catch_warnings():  # Rows that coincide leave clusters empty, which is no fault.
        warnings.simplefilter("ignore")
        unit = unit_rows_numpy(np.asarray(rows, np.float64))
        found: np.ndarray = KMeans(count, random_state=seed).fit_predict(unit)
    return found
