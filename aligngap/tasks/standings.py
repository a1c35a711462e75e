"""How many candidates stand before each query's best right one: what recall at k is counted from.

Cosines count in float64, and of many rows float32 is all that is needed: the device counts who is
ahead, in both directions from one pass over the products, by thresholds as far apart as float32
can err. A query whose count that leaves open is counted again in float64, so that the numbers are
those of float64 throughout.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jaxtyping import Array, Float, Int

from aligngap import progress

# In float64 equal rows differ by some 1e-16 with their place in the matrix, and distinct float32
# rows by far more than this.
TIE = 1e-9
SCORES_AT_ONCE = 2**22  # Elements of the largest array held: 32 MiB.
ON_DEVICE_FROM = 2**26  # Products of queries and candidates: below, float64 takes about a second.
QUERIES, CANDIDATES = 512, 2048  # A block of the device: its 4 MiB of products stay in a cache.
POSSIBLE = 2**12  # More than a block's rows or columns; sums stay below 2**24, exact in float32.


class Standings(NamedTuple):
    """Of each query. `better` is how many candidates beat its best right one, and no less than
    `most` where it is that many; `positives` and `negatives` tie with that one, itself counted."""

    better: Int[np.ndarray, "Nq"]
    positives: Int[np.ndarray, "Nq"]
    negatives: Int[np.ndarray, "Nq"]


class Side(NamedTuple):
    """The rows of one side, and what they show: equal labels are right for each other."""

    rows: Float[np.ndarray, "N D"]
    labels: Int[np.ndarray, "N"]


def standings(queries: Side, candidates: Side, most: int) -> Standings:
    """Of the queries among the candidates, exact for all that stand below `most`."""
    if len(queries.rows) * len(candidates.rows) < ON_DEVICE_FROM:
        return _in_float64(queries, candidates)
    return mutual(queries, candidates, most)[0]


def mutual(one: Side, other: Side, most: int) -> tuple[Standings, Standings]:
    """`standings` of each side among the other."""
    if len(one.rows) * len(other.rows) < ON_DEVICE_FROM:
        return _in_float64(one, other), _in_float64(other, one)
    best = _best_positives(one, other), _best_positives(other, one)
    sure, possible = _on_device(one, other, best)
    pairs = ((one, other), (other, one))
    found = [
        _settled(*pair, *best[side], sure[side], possible[side], most)
        for side, pair in enumerate(pairs)
    ]
    return found[0], found[1]


def _in_float64(queries: Side, candidates: Side) -> Standings:
    """Streams over both: no [Nq, Nc] array is held."""
    best, positives = _best_positives(queries, candidates)
    ahead = np.zeros((len(best), 2), np.int64)
    step = max(1, SCORES_AT_ONCE // min(len(candidates.rows), CANDIDATES))
    for start in range(0, len(best), step):
        rows = slice(start, start + step)
        ahead[rows] = _counted(queries.rows[rows], queries.labels[rows], candidates, best[rows])
    return Standings(ahead[:, 0], positives, ahead[:, 1] - ahead[:, 0])


def _counted(
    queries: Float[np.ndarray, "q D"],
    labels: Int[np.ndarray, "q"],
    candidates: Side,
    best: Float[np.ndarray, "q"],
) -> Int[np.ndarray, "q 2"]:
    """How many wrong candidates beat the best right one, and how many do or tie with it."""
    wide, found = np.asarray(queries, np.float64), np.zeros((len(queries), 2), np.int64)
    above, from_ = (best + TIE)[:, None], (best - TIE)[:, None]
    for start in range(0, len(candidates.rows), CANDIDATES):
        part = slice(start, start + CANDIDATES)
        scores = wide @ np.asarray(candidates.rows[part], np.float64).T
        scores[labels[:, None] == candidates.labels[part]] = -np.inf
        found[:, 0] += np.count_nonzero(scores > above, axis=1)
        found[:, 1] += np.count_nonzero(scores >= from_, axis=1)
    return found


def _best_positives(
    queries: Side, candidates: Side
) -> tuple[Float[np.ndarray, "Nq"], Int[np.ndarray, "Nq"]]:
    """The score of each query's best right candidate, and how many right ones tie with it."""
    best = np.full(len(queries.rows), -np.inf)
    tied = np.zeros(len(queries.rows), np.int64)
    for asking, right in _of_one_label(queries.labels, candidates.labels):
        columns = np.asarray(candidates.rows[right], np.float64).T
        step = max(1, SCORES_AT_ONCE // len(right))
        for start in range(0, len(asking), step):
            rows = asking[start : start + step]
            scores = np.asarray(queries.rows[rows], np.float64) @ columns
            best[rows] = scores.max(axis=1)
            tied[rows] = np.count_nonzero(scores >= best[rows, None] - TIE, axis=1)
    return best, tied


def _of_one_label(
    one: Int[np.ndarray, "N"], other: Int[np.ndarray, "M"]
) -> Iterator[tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]]:
    """The rows of each label that stands on both sides."""
    orders = [np.argsort(labels, kind="stable") for labels in (one, other)]
    names = np.intersect1d(one, other)
    ends = [
        [np.searchsorted(labels[order], names, side) for side in ("left", "right")]
        for labels, order in zip((one, other), orders, strict=True)
    ]
    for a, b, c, d in zip(*ends[0], *ends[1], strict=True):
        yield orders[0][a:b], orders[1][c:d]


Counts = tuple[Int[np.ndarray, "N"], Int[np.ndarray, "M"]]


def _on_device(
    one: Side, other: Side, best: tuple[tuple[np.ndarray, np.ndarray], ...]
) -> tuple[Counts, Counts]:
    """How many wrong candidates surely beat each row's best right one, and how many may beat it or
    tie with it, of both sides."""
    _, labels = np.unique(np.concatenate([one.labels, other.labels]), return_inverse=True)
    labels = labels.astype(np.int32)  # Devices have no int64.
    slack = TIE + float32_error(one.rows.shape[1], longest(one.rows) * longest(other.rows))
    sides = [
        (np.asarray(side.rows, np.float32), own, _rounded(found + slack), _rounded(found - slack))
        for side, own, (found, _) in zip(
            (one, other), np.split(labels, [len(one.rows)]), best, strict=True
        )
    ]
    sure, possible = ([np.zeros(len(s.rows), np.int64) for s in (one, other)] for _ in range(2))
    starts = range(0, len(other.rows), CANDIDATES)
    with on_one_device():
        for start in progress.track(starts, "Ranking", len(starts), "blocks"):
            columns = slice(start, start + CANDIDATES)
            held = jax.device_put([array[columns] for array in sides[1]])
            parts = [slice(s, s + QUERIES) for s in range(0, len(one.rows), QUERIES)]
            found = [_block([array[rows] for array in sides[0]], held) for rows in parts]
            for rows, (of_rows, of_columns) in zip(parts, jax.device_get(found), strict=True):
                for side, part, packed in ((0, rows, of_rows), (1, columns, of_columns)):
                    possible_here, sure_here = np.divmod(packed.astype(np.int64), POSSIBLE)
                    sure[side][part] += sure_here
                    possible[side][part] += possible_here
    return (sure[0], sure[1]), (possible[0], possible[1])


@jax.jit
def _block(rows: list[Array], columns: list[Array]) -> tuple[Float[Array, "q"], Float[Array, "c"]]:
    """Of a block of products: how many wrong ones are above each row's and each column's bounds,
    in one number, sure + POSSIBLE · possible: half the passes of one for each bound."""
    (x, x_labels, *x_bounds), (y, y_labels, *y_bounds) = rows, columns
    scores = _product(x, y.T)
    scores = jnp.where(x_labels[:, None] == y_labels, -jnp.inf, scores)

    def packed(sure: Array, possible: Array) -> Float[Array, "q c"]:
        found = (scores >= sure).astype(jnp.float32) + POSSIBLE * (scores >= possible)
        # Written once, and added up by a product: XLA makes poor vectors of a CPU's sums.
        return jax.lax.optimization_barrier(found)

    of_rows = packed(*(bound[:, None] for bound in x_bounds))
    of_columns = packed(*y_bounds)
    return _product(of_rows, jnp.ones(len(y))), _product(jnp.ones(len(x)), of_columns)


def _product(one: Float[Array, "..."], other: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.matmul(one, other, precision=jax.lax.Precision.HIGHEST)


def on_one_device() -> AbstractContextManager[object]:
    """On one device of this process, whatever mesh a training run is under."""
    here = jax.local_devices()[:1]
    return jax.set_mesh(jax.make_mesh((1,), ("one",), axis_types=(AxisType.Auto,), devices=here))


def float32_error(width: int, score: float) -> float:
    """Twice the bound on what a float32 product of two rows is off, in any order of its terms:
    (D + 2)·u·‖x‖‖y‖ with the rounding of both (Higham 2002, section 3.1)."""
    return 2 * (width + 2) * 2.0**-24 * score


def longest(rows: Float[np.ndarray, "N D"]) -> float:
    """The length of the longest row."""
    parts = (rows[start : start + CANDIDATES] for start in range(0, len(rows), CANDIDATES))
    return max((float(np.linalg.norm(part, axis=1).max()) for part in parts), default=0.0)


def _rounded(bound: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """In float32: its rounding is far below the slack, which is twice what is needed."""
    return bound.astype(np.float32)


def _settled(
    queries: Side,
    candidates: Side,
    best: Float[np.ndarray, "Nq"],
    positives: Int[np.ndarray, "Nq"],
    sure: Int[np.ndarray, "Nq"],
    possible: Int[np.ndarray, "Nq"],
    most: int,
) -> Standings:
    """What the device's counts say, and float64 where they leave it open."""
    better, negatives = sure.copy(), np.zeros_like(sure)
    (open_,) = np.nonzero((sure < most) & (possible > sure))
    step = max(1, SCORES_AT_ONCE // CANDIDATES)
    for start in range(0, len(open_), step):
        rows = open_[start : start + step]
        found = _counted(queries.rows[rows], queries.labels[rows], candidates, best[rows])
        better[rows], negatives[rows] = found[:, 0], found[:, 1] - found[:, 0]
    return Standings(better, positives, negatives)
