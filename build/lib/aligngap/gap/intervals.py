"""The measures of `gap.summary` with 95 % intervals, affordable for a million pairs.

Means over pairs, and functions of them: a percentile bootstrap (Efron & Tibshirani 1993). Of many
pairs it draws whole groups, of which each holds every 4096th pair (compare Kott 2001, "The
delete-a-group jackknife"), so that resamples cost the same however many pairs there are.
Uniformities are U-statistics: the jackknife from the mean of each row (Arvesen 1969), which for
log-means is normal on the log scale. Spectra: the infinitesimal jackknife (`spectrum.errors`); a
resample repeats rows, so its rank would be too low. Median ranks: order statistics.
The gallery of ranks and neighbours, and the fitted classifier of the separability, are kept.
"""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from aligngap.config import MODALITIES
from aligngap.gap import clouds, neighbours, spectrum
from aligngap.gap.clouds import EXACT_PAIRS, Clouds, Totals
from aligngap.gap.neighbours import Neighbours
from aligngap.gap.streaming import Sums
from aligngap.intervals import Interval, resampled_counts

RESAMPLES = 1000
LEVELS = (0.025, 0.975)

Ends = tuple[float, float]


def intervals(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "N D"],
    *,
    exact_pairs: int = EXACT_PAIRS,
    seed: int = 0,
) -> dict[str, Interval]:
    """name → value of `gap.summary` and its interval over samples of pairs.

    A measure over pairs of rows never counts a row against its own copies (they are no pair of the
    population).
    """
    return of(clouds.in_memory(image, text, exact_pairs, seed), seed)


def of(found: Clouds, seed: int) -> dict[str, Interval]:
    """The intervals of clouds that were gathered."""
    values = clouds.values(found)
    if found.passed.pairs < 2:
        return {name: Interval(value, np.nan, np.nan) for name, value in values.items()}
    ends = (
        _of_linear(found.passed.sums, seed)
        | _of_scores(found, seed)
        | _of_potentials(found.neighbours)
        | _of_spectra(found, values)
        | _of_medians(found.neighbours)
    )
    return {name: Interval(value, *ends[name]) for name, value in values.items()}


def _of_linear(sums: Sums, seed: int) -> dict[str, Ends]:
    counts = resampled_counts(len(sums.sizes), seed, RESAMPLES)
    draws = [clouds.linear(_totals(sums, drawn)) for drawn in counts]
    return _quantiles({name: np.concatenate([d[name] for d in draws]) for name in draws[0]})


def _totals(sums: Sums, drawn: Float[np.ndarray, "R G"]) -> Totals:
    """Row r of `drawn` says how often each group is in resample r."""
    twice = drawn**2
    own = [twice @ np.sum(rows**2, axis=1) for rows in (sums.image, sums.text)]
    return Totals(
        drawn @ sums.sizes,
        drawn @ sums.image,
        drawn @ sums.text,
        drawn @ sums.paired,
        np.stack(own),
        twice @ sums.sizes**2,
    )


def _of_scores(found: Clouds, seed: int) -> dict[str, Ends]:
    """Means over queries, which are resampled."""
    scores = {"same_modality_neighbours": neighbours.same_modality(found.neighbours)}
    for name, seen in neighbours.directions(found.neighbours).items():
        scores |= neighbours.rank_scores(seen, name)
    ends = _of_means(scores, seed)
    return ends | _of_means({"linear_separability": found.hits}, seed)


def _of_means(scores: Mapping[str, Float[np.ndarray, "N"]], seed: int) -> dict[str, Ends]:
    columns = np.stack(list(scores.values()), axis=1)
    pairs = len(columns)
    counts = resampled_counts(pairs, seed, RESAMPLES)
    draws = np.concatenate([drawn @ columns / pairs for drawn in counts])
    return _quantiles(dict(zip(scores, draws.T, strict=True)))


def _of_potentials(found: Neighbours) -> dict[str, Ends]:
    """log U of the U-statistic U: its jackknife deviations come from the means of rows alone."""
    ends = {}
    for name, (one, other) in clouds.potentials(found).items():
        mean, pairs = np.mean(one, dtype=np.float64), len(one)
        influence = (one.astype(np.float64) + other) / mean
        factor = (pairs - 1) / max(pairs - 2, 1)
        error = factor * influence.std(ddof=1) / np.sqrt(pairs)
        ends[name] = _normal(float(np.log(mean)), float(error), (-4.0 * neighbours.T, 0.0))
    return ends


def _of_spectra(found: Clouds, values: Mapping[str, float]) -> dict[str, Ends]:
    ends = {}
    passed = found.passed
    samples = (passed.image, passed.text)
    for modality, matrix, rows in zip(MODALITIES, passed.covariances, samples, strict=True):
        for name, error in spectrum.errors(matrix, rows, passed.pairs).items():
            limits = (1.0, float(len(matrix))) if name == "effective_rank" else (0.0, 1.0)
            key = f"{name}_{modality}"
            ends[key] = _normal(values[key], error, limits)
    return ends


def _of_medians(found: Neighbours) -> dict[str, Ends]:
    """Ranks whose order is that of the binomial's quantiles (Conover 1999, section 3.2)."""
    from scipy.stats import binom  # Most of a second that training need not wait.

    ends = {}
    for name, seen in neighbours.directions(found).items():
        ranks = np.sort(neighbours.ranks(seen))
        low = int(max(binom.ppf(LEVELS[0], len(ranks), 0.5) - 1, 0))
        ends[f"paired_median_rank_{name}"] = (float(ranks[low]), float(ranks[-1 - low]))
    return ends


def _quantiles(draws: Mapping[str, Float[np.ndarray, "R"]]) -> dict[str, Ends]:
    """Of draws that are numbers: a draw of one pair alone has no spread."""
    ends = {name: np.nanquantile(x, LEVELS) for name, x in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _normal(value: float, error: float, limits: Ends) -> Ends:
    """The normal interval, within the range of the measure."""
    reach = NormalDist().inv_cdf(LEVELS[1]) * error
    return max(value - reach, limits[0]), min(value + reach, limits[1])
