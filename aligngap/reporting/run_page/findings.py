"""Sentences that say how the numbers of runs fall, and what metrics are called."""

import math
from collections.abc import Mapping, Sequence

from aligngap.intervals import Interval
from aligngap.reporting.run_page.runs import FOUND, ReportedRun, SplitValues
from aligngap.reporting.words import GAP, decimal, percent

ACCURACIES = {
    "acc1": "top-1 accuracy",
    "acc5": "top-5 accuracy",
    "mean_per_class_recall": "mean recall of the classes",
    "ece": "calibration error (ECE)",
}
NDCG = "ndcg@10"
FEW = 5  # Runs that a sentence can name, and that are compared one by one.
DIRECTIONS = {"text_retrieval": "image → text", "image_retrieval": "text → image"}


def retrieval_name(metric: str) -> str:
    """text_retrieval_recall@10 → image → text R@10."""
    direction, _, k = metric.partition("_recall@")
    return f"{DIRECTIONS[direction]} R@{k}" if direction in DIRECTIONS and k else metric


def accuracy_name(metric: str) -> str:
    """acc1 → top-1 accuracy."""
    return ACCURACIES.get(metric, metric.replace("_", " "))


def against_share(search: Mapping[str, Interval]) -> dict[float, Interval]:
    """Share of items that are images → NDCG@10 of mixed search."""
    named = (name.split("/p") for name in search if name.startswith(f"{NDCG}/p"))
    return {float(share): search[f"{NDCG}/p{share}"] for _, share in named}


def headline(runs: Sequence[ReportedRun]) -> str:
    """One sentence: the gap of every run, and how often the right caption is found, as far as
    evaluators measured it."""
    splits = [_leading(run) for run in runs]
    said = [*_gaps(runs, splits), *_found(runs, splits)]
    if not said:
        names = ", ".join(dict.fromkeys(name for split in splits for name in split.values))
        return f"What was measured: {names}."
    return f"The {'; the '.join(said)}."


def _gaps(runs: Sequence[ReportedRun], splits: Sequence[SplitValues]) -> list[str]:
    if not all(GAP in split.gap for split in splits):
        return []
    gaps = [split.gap[GAP].value for split in splits]
    return [f"modality gap is {_each(runs, gaps, [decimal(gap) for gap in gaps])}"]


def _found(runs: Sequence[ReportedRun], splits: Sequence[SplitValues]) -> list[str]:
    if not all(FOUND in split.retrieval for split in splits):
        return []
    recalls = [split.retrieval[FOUND] for split in splits]
    shares = [recall.value for recall in recalls]
    said = _each(runs, shares, [percent(share) for share in shares], " of images")
    chance = recalls[0].chance
    against = f", against {percent(chance)} by chance" if chance is not None else ""
    return [f"right caption is among the first ten for {said}{against}"]


def _each(
    runs: Sequence[ReportedRun], values: Sequence[float], printed: Sequence[str], of: str = ""
) -> str:
    """What each run reached, or where there are many the least and the most; `of` what, once."""
    order = sorted(range(len(runs)), key=values.__getitem__)
    shown = range(len(runs)) if len(runs) <= FEW else [order[0], order[-1]]
    said = [f"{printed[i]}{of * (i == shown[0])} with {runs[i].label}" for i in shown]
    return _listed(said) if len(runs) <= FEW else " to ".join(said)


def _leading(run: ReportedRun) -> SplitValues:
    return next(iter(run.splits.values()))


def scope(runs: Sequence[ReportedRun]) -> str:
    """What the headline was measured on."""
    split = _leading(runs[0])
    what = f": {split.note}" if split.note else ""
    return f"Measured on {split.num_images:,} images and {split.num_captions:,} captions{what}."


def changes(runs: Sequence[ReportedRun]) -> list[tuple[str, list[tuple[str, str]]]]:
    """How each further run differs from the first, whichever way that falls: (who, [(in what,
    by how much)]). Of many runs a table says it."""
    if len(runs) > FEW:
        return []
    name = next(iter(runs[0].splits))
    first = runs[0].splits[name]
    return [
        (f"{run.label} against {runs[0].label}", _changes(first, run.splits[name]))
        for run in runs[1:]
    ]


def _changes(before: SplitValues, after: SplitValues) -> list[tuple[str, str]]:
    found = []
    if GAP in before.gap and GAP in after.gap:
        found.append(("gap", _gap_change(before.gap[GAP], after.gap[GAP])))
    for metric in (FOUND, FOUND.replace("text", "image")):
        if metric in before.retrieval and metric in after.retrieval:
            change = _points(before.retrieval[metric], after.retrieval[metric])
            found.append((retrieval_name(metric), change))
    searches = [against_share(split.search) for split in (before, after)]
    if all(0.5 in search for search in searches):
        change = _points(*(search[0.5] for search in searches))
        found.append(("mixed search, NDCG@10 at half images", change))
    zero_shot = [split.values.get("zero_shot", {}) for split in (before, after)]
    for name in zero_shot[0]:
        if name.endswith("/acc1") and name in zero_shot[1]:
            change = _points(zero_shot[0][name], zero_shot[1][name])
            found.append((f"zero-shot by {name.removesuffix('/acc1')}", change))
    return found


def _gap_change(before: Interval, after: Interval) -> str:
    difference = after.value - before.value
    if round(abs(difference), 2) == 0 or not math.isfinite(difference):
        return f"unchanged at {decimal(after.value)}"
    relative = f" ({percent(abs(difference) / before.value, 0)})" if before.value > 0 else ""
    way = "smaller" if difference < 0 else "larger"
    return f"{decimal(abs(difference))}{relative} {way}, {_overlap(before, after)}"


def _points(before: Interval, after: Interval) -> str:
    points = 100 * (after.value - before.value)
    if round(abs(points), 1) == 0 or not math.isfinite(points):
        return f"unchanged at {percent(after.value)}"
    way = "higher" if points > 0 else "lower"
    return f"{abs(points):.1f} points {way}, {_overlap(before, after)}"


def _overlap(one: Interval, other: Interval) -> str:
    """Whether the two 95 % intervals share a value: a description, not a test of significance."""
    shared = one.low <= other.high and other.low <= one.high
    return "intervals overlap" if shared else "intervals apart"


def _listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
