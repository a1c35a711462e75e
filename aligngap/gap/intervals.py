"""The measures of `gap.summary` with 95 % intervals, affordable for a million pairs.

They are of what other samples of as many pairs would give. The distance of few rows' centroids is
too large, by about tr Var(v − t) / (2N‖Δ‖): only clouds of as many rows are comparable.

What is drawn are groups of pairs that share an image or a text (`copies.Items.group`), mostly of
one pair: five captions of an image are no five draws.
Means, and functions of them: a percentile bootstrap (Efron & Tibshirani 1993). Of many groups it
draws whole bundles, of which each holds every 4096th (compare Kott 2001, "The delete-a-group
jackknife"), so that resamples cost the same however many pairs there are.
Uniformities are U-statistics: the jackknife from the sum of each row (Arvesen 1969), which for
log-means is normal on the log scale. Spectra: the infinitesimal jackknife (`spectrum.errors`); a
resample repeats rows, so its rank would be too low. Median ranks: order statistics, of as many
ranks as there are groups.
The gallery of ranks and neighbours, and the fitted classifier of the separability, are kept.
Where groups are too few to say anything of others, an interval is the range of its measure: one on
which the separability is tested, two for what takes every two rows, five for a median rank.
"""

import itertools
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from aligngap.config import MODALITIES
from aligngap.gap import clouds, copies, neighbours, spectrum
from aligngap.gap.clouds import EXACT_PAIRS, Clouds
from aligngap.gap.copies import Items, Part
from aligngap.gap.neighbours import Neighbours
from aligngap.gap.streaming import Sums
from aligngap.intervals import Interval, resampled_counts

RESAMPLES = 1000
LEVELS = (0.025, 0.975)

Ends = tuple[float, float]

SHARE: Ends = (0.0, 1.0)
OF_PAIRS: dict[str, Ends] = {  # Linear measures of every two rows, and their range.
    "mean_pairwise_cosine_image": (-1.0, 1.0),
    "mean_pairwise_cosine_text": (-1.0, 1.0),
    "relative_modality_gap": SHARE,
}


def intervals(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "N D"],
    *,
    exact_pairs: int = EXACT_PAIRS,
    seed: int = 0,
    items: Items | None = None,
) -> dict[str, Interval]:
    """name → value of `gap.summary` and its interval over samples of groups of pairs.

    A measure over pairs of rows never counts a row against its own copies (they are no pair of the
    population). nan where all pairs are one group.
    """
    return of(clouds.in_memory(image, text, exact_pairs, seed, items), seed)


def of(found: Clouds, seed: int) -> dict[str, Interval]:
    """The intervals of clouds that were gathered."""
    values = clouds.values(found)
    groups = len(found.passed.sums.pairs)
    if groups < 2:
        return {name: Interval(value, np.nan, np.nan) for name, value in values.items()}
    ends = (
        _quantiles(drawn(found, seed, RESAMPLES))
        | _of_potentials(found)
        | _of_spectra(found, values)
        | _of_medians(found.neighbours)
        | (OF_PAIRS if groups == 2 else {})
    )
    if len(np.unique(np.concatenate([part.group for part in found.hits]))) == 1:
        ends["linear_separability"] = SHARE
    return {name: Interval(value, *ends[name]) for name, value in values.items()}


def drawn(found: Clouds, seed: int, resamples: int) -> dict[str, Float[np.ndarray, "R"]]:
    """The measures that are means, or functions of means, in R draws of the groups: the same draws
    for clouds with as many groups, so that those of two models of one split are paired."""
    return linear(found.passed.sums, seed, resamples) | _scores(found, seed, resamples)


def linear(sums: Sums, seed: int, resamples: int) -> dict[str, Float[np.ndarray, "R"]]:
    """Those of `drawn` that are functions of means over all pairs."""
    counts = resampled_counts(len(sums.pairs), seed, resamples)
    draws = [clouds.linear(sums, drawn) for drawn in counts]
    found = {name: np.concatenate([d[name] for d in draws]) for name in draws[0]}
    value = clouds.linear(sums, np.ones((1, len(sums.pairs))))["centroid_distance"]
    return found | {"centroid_distance": _recentred(found["centroid_distance"], value)}


def _recentred(norms: Float[np.ndarray, "R"], value: Float[np.ndarray, "1"]) -> np.ndarray:
    """Norms of resampled vectors without what resampling added: its bias, estimated from the draws
    (Efron & Tibshirani 1993, section 10.2), since E*‖Δ*‖² = ‖Δ‖² + tr Var*."""
    squares = norms**2
    return np.sqrt(np.maximum(squares - (squares.mean() - value**2), 0))


def _scores(found: Clouds, seed: int, resamples: int) -> dict[str, Float[np.ndarray, "R"]]:
    """Means over queries, which are resampled."""
    scores: dict[str, tuple[Part, ...]]
    scores = {"same_modality_neighbours": neighbours.same_modality(found.neighbours)}
    items = found.passed.items
    group = items.group[items.first.pair]
    for name, seen in neighbours.distinct_directions(found.neighbours).items():
        for measure, values in neighbours.rank_scores(seen, name).items():
            scores[measure] = (Part(values, group),)
    draws = _means(scores, seed, resamples)
    return draws | _means({"linear_separability": found.hits}, seed, resamples)


def _means(
    scores: Mapping[str, tuple[Part, ...]], seed: int, resamples: int
) -> dict[str, Float[np.ndarray, "R"]]:
    """Of each the mean of its parts' means."""
    parts = [part for each in scores.values() for part in each]
    places = copies.numbered(np.concatenate([part.group for part in parts]))
    groups = int(places.max()) + 1
    sums, counts = np.zeros((2, groups, len(parts)))
    starts = np.cumsum([len(part.group) for part in parts])[:-1]
    for column, (part, place) in enumerate(zip(parts, np.split(places, starts), strict=True)):
        sums[:, column] = np.bincount(place, part.values, groups)
        counts[:, column] = np.bincount(place, minlength=groups)
    draws = np.concatenate(
        [drawn @ sums / (drawn @ counts) for drawn in resampled_counts(groups, seed, resamples)]
    )
    ends = np.cumsum([0, *(len(each) for each in scores.values())])
    columns = [draws[:, slice(*each)].mean(axis=1) for each in itertools.pairwise(ends)]
    return dict(zip(scores, columns, strict=True))


def _of_potentials(found: Clouds) -> dict[str, Ends]:
    """log U of the U-statistic U: its jackknife deviations come from the sums of rows alone."""
    ends = {}
    groups = np.unique(found.passed.items.group)
    for name, sides in clouds.potentials(found.neighbours).items():
        total, pairs = sides[0].total.sum(), int(sides[0].others.sum())
        limits = (-4.0 * neighbours.T, 0.0)
        if len(groups) < 3:
            ends[name] = limits
            continue
        influence = np.zeros(len(groups))
        for side in sides:
            place = np.searchsorted(groups, side.group)
            more = side.total / total - side.others / pairs
            influence += len(groups) * np.bincount(place, more, len(groups))
        factor = (len(groups) - 1) / (len(groups) - 2)
        error = factor * influence.std(ddof=1) / np.sqrt(len(groups))
        value = float(np.log(total / pairs))
        ends[name] = _normal(value, float(error), limits)
    return ends


def _of_spectra(found: Clouds, values: Mapping[str, float]) -> dict[str, Ends]:
    ends = {}
    passed = found.passed
    first, group = passed.items.first, passed.items.group
    sides = (
        (passed.image, first.image, passed.sums.image),
        (passed.text, first.text, passed.sums.text),
    )
    for modality, matrix, (rows, kept, cloud) in zip(
        MODALITIES, passed.covariances, sides, strict=True
    ):
        errors = spectrum.errors(matrix, rows[kept], group[kept], float(cloud.count.sum()))
        for name, error in errors.items():
            limits = (1.0, float(len(matrix))) if name == "effective_rank" else SHARE
            key = f"{name}_{modality}"
            ends[key] = _normal(values[key], error, limits)
    return ends


def _of_medians(found: Neighbours) -> dict[str, Ends]:
    """Ranks whose order is that of the binomial's quantiles (Conover 1999, section 3.2)."""
    from scipy.stats import binom  # Most of a second that training need not wait.

    ends = {}
    groups = found.items.groups
    for name, seen in neighbours.distinct_directions(found).items():
        ranks = np.sort(neighbours.ranks(seen))
        place = binom.ppf(LEVELS[0], groups, 0.5) - 1
        low = int(place * len(ranks) / groups)
        reach = (ranks[low], ranks[-1 - low]) if place >= 0 else (1, 1 + seen.others.max())
        ends[f"paired_median_rank_{name}"] = (float(reach[0]), float(reach[1]))
    return ends


def _quantiles(draws: Mapping[str, Float[np.ndarray, "R"]]) -> dict[str, Ends]:
    """Of draws that are numbers: a draw of one pair alone has no spread."""
    ends = {name: np.nanquantile(x, LEVELS) for name, x in draws.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _normal(value: float, error: float, limits: Ends) -> Ends:
    """The normal interval, within the range of the measure."""
    reach = NormalDist().inv_cdf(LEVELS[1]) * error
    return max(value - reach, limits[0]), min(value + reach, limits[1])
