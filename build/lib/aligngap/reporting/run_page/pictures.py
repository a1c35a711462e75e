"""Which pictures the page shows of which numbers, each with its title and its words."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from aligngap.intervals import Interval
from aligngap.reporting import figures, words
from aligngap.reporting.figures import Comparison
from aligngap.reporting.panels import Panel, histograms
from aligngap.reporting.run_page import findings
from aligngap.reporting.run_page.runs import MOMENTS, ReportedRun
from aligngap.reporting.words import GAP

# metric: (title, axis label, whether the axis starts at 0). A panel appears where at least one
# run has logged the metric.
CURVES = {
    "validation/gap/centroid_distance": ("Gap on validation", "distance between centroids", True),
    "validation/gap/alignment_score": ("Alignment on validation", "mean cosine of pairs", False),
    "validation/retrieval/text_retrieval_recall@10": (
        "Retrieval on validation",
        "image → text R@10 (share)",
        True,
    ),
    "train/contrastive": ("Contrastive loss in training", "loss (nats)", False),
    "train/loss": ("Whole objective in training", "loss (nats)", False),
    "train/scale": ("Logit scale", "scale 1/τ", False),
}
OURS = {"gap", "retrieval", "search", "zero_shot"}  # Evaluators whose curves are chosen above.
MOST = 12  # Panels of others.


def clouds(runs: Sequence[ReportedRun], split: str) -> list[Panel]:
    """Each run's embeddings before and after training; one scale for all, each its own axes."""
    own = runs[0].galleries[split].own
    projections = [
        {m: figures.project(cloud.image, cloud.text, own) for m, cloud in moments.items()}
        for moments in (run.clouds[split] for run in runs)
    ]
    half = figures.reach([found for moments in projections for found in moments.values()])
    return [
        _cloud(run, split, moment, moments[moment], half)
        for run, moments in zip(runs, projections, strict=True)
        for moment in MOMENTS
        if moment in moments
    ]


def _cloud(
    run: ReportedRun, split: str, moment: str, found: figures.Projected, half: float
) -> Panel:
    numbers = run.splits[split].gap if moment == "trained" else run.splits[split].gap_before
    when = {"initial": "before training", "trained": "after training"}[moment]
    gap = f"gap {words.decimal(numbers[GAP].value)}" if GAP in numbers else ""
    svg = figures.cloud(found, run.galleries[split].own, half)
    alt = f"Embeddings of {run.label} {when}, first two principal components; {gap}"
    return Panel(Markup(svg), f"{run.label}, {when}", gap, alt)


def intervals(runs: Sequence[ReportedRun], splits: Sequence[str]) -> list[Panel]:
    """Retrieval of every split on one scale; a metric that some run lacks is left out."""
    found = {name: _shared([run.splits[name].retrieval for run in runs]) for name in splits}
    highs = [n.high for rows in found.values() for numbers in rows.values() for n in numbers]
    limit = min(100.0, 10 * math.ceil(10 * max(highs, default=1.0) + 0.1))
    titles = {name: split.title for name, split in runs[0].splits.items()}
    return [_intervals(titles[name], rows, limit) for name, rows in found.items() if rows]


def _intervals(title: str, rows: dict[str, list[Interval]], limit: float) -> Panel:
    drawn = []
    for metric, numbers in rows.items():
        direction, _, k = findings.retrieval_name(metric).rpartition(" ")
        if Comparison(direction) not in drawn:
            drawn.append(Comparison(direction))
        bars = [(number.value, number.low, number.high) for number in numbers]
        drawn.append(Comparison(k, numbers[0].chance, bars))
    alt = f"Retrieval on {title}; the numbers are in the tables below"
    return Panel(Markup(figures.intervals(drawn, limit)), title, "", alt)


def searches(runs: Sequence[ReportedRun], splits: Sequence[str]) -> list[Panel]:
    """NDCG of mixed search on every split, against the share of items that are images."""
    titles = {name: split.title for name, split in runs[0].splits.items()}
    panels = []
    for name in splits:
        series = [findings.against_share(run.splits[name].search) for run in runs]
        found = [values for values in series if values]
        if not found:
            continue
        chance = next(iter(found[0].values())).chance
        drawn = [
            [(at, n.value, n.low, n.high) for at, n in values.items()] or None for values in series
        ]
        svg = figures.bands(drawn, chance, ("share of items that are images", "NDCG@10"))
        alt = f"Mixed search on {titles[name]}, NDCG@10 against the share of images; numbers below"
        panels.append(Panel(Markup(svg), titles[name], "", alt))
    return panels


def _shared(tables: Sequence[dict[str, Interval]]) -> dict[str, list[Interval]]:
    """metric → its number in every table, for the metrics that all of them have."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: [table[name] for table in tables] for name in names}


def curves(runs: Sequence[ReportedRun]) -> list[Panel]:
    """What was logged during training, against the step."""
    panels = []
    for metric, (title, label, from_zero) in (CURVES | _further_curves(runs)).items():
        series = [run.curves.get(metric) for run in runs]
        if any(found is not None for found in series):
            svg = Markup(figures.curves(series, label, from_zero))
            panels.append(Panel(svg, title, "", f"{title} against training step ({metric})"))
    return panels


def _further_curves(runs: Sequence[ReportedRun]) -> dict[str, tuple[str, str, bool]]:
    """Those of evaluators that are not ours: SPLIT/EVALUATOR/NAME under their own names."""
    names = dict.fromkeys(name for run in runs for name in run.curves if name.count("/") >= 2)
    own = [n for n in names if not OURS & set(n.split("/")[1:-1]) and not n.startswith("train/")]
    return {name: (name.replace("_", " "), name.rpartition("/")[2], False) for name in own[:MOST]}


def cosines(runs: Sequence[ReportedRun], split: str) -> list[Panel]:
    """Histograms of all runs on the same bins and height."""
    gallery = runs[0].galleries[split]
    clouds = [run.clouds[split]["trained"] for run in runs]
    found = [figures.cosines(c.image, c.text, gallery.own, gallery.group) for c in clouds]
    return histograms([run.label for run in runs], found)
