"""`aligngap study`: results.json, README.md and its picture, of whatever runs are there by now."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aligngap import atomic
from aligngap.reporting import template
from aligngap.reporting.study_page import (
    checks,
    claims,
    figure,
    rates,
    records,
    runs,
    tables,
    verdicts,
)
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.rates import Choice
from aligngap.reporting.study_page.records import Wanted
from aligngap.reporting.study_page.runs import Study
from aligngap.reporting.study_page.verdicts import Judged

PICTURE = "gap_against_quality.png"
WHY = "why/README.md"  # Where `aligngap study why` wrote its page into a folder in the output.


def build(workdirs: Sequence[Path], rated: Sequence[Path], output: Path) -> str:
    """Writes README.md and its picture into `output`, beside what it keeps of these and of earlier
    runs. `rated` are sweeps by which rates were chosen. Returns the claims and their verdicts, a
    line each."""
    study = runs.gather(workdirs, output, wanted())
    records.save(output, study.runs)
    chosen = rates.gather(rated, output)
    measured = Measured(study)
    judged, comparisons = verdicts.judge(claims.CLAIMS, measured)
    held_out = [split for split in claims.HELD_OUT if split in study.splits]
    content = {
        "study": study,
        "tables": tables.Tables(measured),
        "recipe": runs.label(tables.RECIPE),
        "held_out": held_out,
        "outside": [split for split in tables.OUTSIDE if split in study.splits],
        "judged": tables.judged(judged, lambda s: study.title(s) if s in study.splits else s),
        "comparisons": comparisons,
        "counts": _counts(study),
        "checked": tables.checked(checks.check()),
        "picture": PICTURE,
        "missing": [runs.label(method) for method in runs.LABELS if method not in study.methods],
        "rates": _rates(study, chosen),
        "why": WHY if (output / WHY).exists() else "",
    }
    drawn = figure.draw(measured, held_out)
    page = template.markdown("study_page/study.md.j2", content)
    atomic.write(output / PICTURE, drawn)
    atomic.write(output / "README.md", page)
    return "\n".join(_lines(judged))


def wanted() -> Wanted:
    """Draws of what the claims and the recipe's comparison are about; which pairs are shifted."""
    drawn: dict[str, dict[str, None]] = {}
    for claim in claims.CLAIMS:
        for split in claim.splits:
            drawn.setdefault(split, {}).update(dict.fromkeys(claim.measures))
    for split in (*claims.HELD_OUT, *tables.OUTSIDE):
        for measures in tables.COMPARED.values():
            drawn.setdefault(split, {}).update(dict.fromkeys(measures))
    return Wanted({split: [*own] for split, own in drawn.items()}, shifted=tables.MAIN)


def _counts(study: Study) -> str:
    """ "3 of CLIP; 2 of AlignCLIP, CUAXU" """
    by_count: dict[int, list[str]] = {}
    for method, found in study.methods.items():
        by_count.setdefault(len(found), []).append(runs.label(method))
    parts = [f"{count} of {', '.join(by_count[count])}" for count in sorted(by_count, reverse=True)]
    return "; ".join(parts)


def _rates(study: Study, chosen: Mapping[str, Choice]) -> str:
    """How the learning rates came about, as a sentence or a table with one."""
    own = {
        name: float(found[0].config["optimizer.peak_lr"]) for name, found in study.methods.items()
    }
    if not chosen:
        listed = ", ".join(f"{rate:g}" for rate in sorted({*own.values()}))
        return (
            f"These runs have learning rates of {listed}; which of them a method has is in the "
            "last table."
        )
    chosen = {name: chosen[name] for name in dict.fromkeys([*own, *chosen]) if name in chosen}
    tried = sorted({rate for each in chosen.values() for rate in each.reached})
    rows = [
        [
            runs.label(method),
            *(f"{each.reached[r]:.4f}" if r in each.reached else tables.NONE for r in tried),
            f"{each.rate:g}{' (an end of the grid)' if each.at_an_end else ''}",
        ]
        for method, each in chosen.items()
    ]
    table = tables.markdown(
        ["R@10 on validation", *(f"{rate:g}" for rate in tried), "chosen"], rows
    )
    other = [
        f"{runs.label(name)} ({rate:g})"
        for name, rate in own.items()
        if name not in chosen or chosen[name].rate != rate
    ]
    note = f"\n\nThese runs have another rate than the chosen one: {', '.join(other)}."
    return (
        "Learning rates are chosen for each method on `validation`, by the mean of R@10 in both "
        f"directions after runs of half the length.\n\n{table}{note if other else ''}"
    )


def _lines(judged: Sequence[Judged]) -> list[str]:
    width = max(len(each.claim.says) for each in judged)
    return [f"{each.claim.says:<{width}}  {each.verdict}" for each in judged]
