"""Each claim with what was measured: confirmed, not confirmed or undecided."""

from collections.abc import Sequence
from dataclasses import dataclass

from aligngap.evaluation.gap import SEED
from aligngap.intervals import Interval
from aligngap.reporting.study_page.claims import Claim
from aligngap.reporting.study_page.measured import Measured
from aligngap.tasks import seeds
from aligngap.tasks.seeds import LEAST

CONFIRMED, NOT_CONFIRMED, UNDECIDED, OPEN = (
    "confirmed",
    "not confirmed",
    "undecided",
    "not measured",
)


@dataclass(frozen=True)
class Judged:
    """A claim and, on each split where both methods have runs enough, first − second."""

    claim: Claim
    found: dict[str, Interval]
    items: bool  # Whether the intervals are over items too, or over seeds alone.
    verdict: str


def judge(claims: Sequence[Claim], measured: Measured) -> tuple[list[Judged], int]:
    """All claims together, and how many comparisons these are: their intervals hold all at once."""
    pairs: dict[tuple[int, str], tuple[seeds.Runs, seeds.Runs]] = {}
    for number, claim in enumerate(claims):
        for split in claim.splits:
            pair = [
                measured.runs(method, split, claim.measures)
                for method in (claim.first, claim.second)
            ]
            if all(side is not None and len(side.values) >= LEAST for side in pair):
                pairs[number, split] = pair[0], pair[1]  # type: ignore[assignment]
    found = seeds.apart(pairs, SEED).intervals if pairs else {}
    judged = []
    for number, claim in enumerate(claims):
        own = {s: found[number, s] for s in claim.splits if (number, s) in found}
        items = all(measured.has_items(claim.first, split, claim.measures) for split in own)
        judged.append(Judged(claim, own, items, verdict(claim, [*own.values()])))
    return judged, len(pairs)


def verdict(claim: Claim, found: Sequence[Interval]) -> str:
    """Confirmed where every interval lies on the claimed side of the margin, not confirmed where
    one lies wholly on the other, else undecided."""
    if not found:
        return OPEN
    sides = [(x.low, x.high) if claim.higher else (-x.high, -x.low) for x in found]
    if all(low > -claim.margin for low, _ in sides):
        return CONFIRMED
    if any(high < -claim.margin for _, high in sides):
        return NOT_CONFIRMED
    return UNDECIDED
