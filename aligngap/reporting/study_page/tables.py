"""The tables of the page, in Markdown: the papers' in their layout, and the recipe's comparison.

Ours are means over seeds ± their standard deviation, on pictograms at quickstart's size; rows of
the papers are of their own models and data, so that what can be compared is how methods differ.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from aligngap.evaluation.gap import SEED
from aligngap.intervals import Interval
from aligngap.reporting.study_page import claims, published
from aligngap.reporting.study_page.checks import Check
from aligngap.reporting.study_page.claims import HELD_OUT
from aligngap.reporting.study_page.measured import Measured
from aligngap.reporting.study_page.records import Run
from aligngap.reporting.study_page.runs import label
from aligngap.reporting.study_page.verdicts import Judged
from aligngap.reporting.words import decimal, signed
from aligngap.tasks import seeds

MAIN = "test_unseen_concept"
OUTSIDE = ("stamps/test", "openclipart/test")
KS = (1, 5, 10)
RECALLS = tuple(
    f"retrieval/{direction}_retrieval_recall@{k}" for direction in ("text", "image") for k in KS
)
NONE = "–"
TIED = ("sharedclip", "alignclip", "alignclip_both", "alignclip_unscaled", "separation_untied")
UNIFORM = ("cua", "cuaxu", "cua_tied", "cuaxu_tied")
RECIPE, RIVALS = "cua_tied", ("clip", "alignclip")
COMPARED = {
    "distance of the centroids": claims.GAP,
    "separability": claims.SEPARABLE,
    "same-modality neighbours": claims.NEIGHBOURS,
    "R@10 image → text": claims.TO_TEXT,
    "R@10 text → image": claims.TO_IMAGE,
    **{f"NDCG@10, p = {p:g}": (f"search/ndcg@10/p{p:g}",) for p in (0.0, 0.5, 1.0)},
}
Cells = Iterable[str]


def markdown(heads: Sequence[str], rows: Iterable[Cells], words: int = 1) -> str:
    """A table; the first columns are words, to the left, the others numbers, to the right."""
    lines = [heads, [*["---"] * words, *["---:"] * (len(heads) - words)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def said(values: np.ndarray | None, digits: int = 3) -> str:
    """0.213 ± 0.004, of one run 0.213."""
    if values is None:
        return NONE
    spread = f" ± {_number(values.std(ddof=1), digits)}" if len(values) > 1 else ""
    return f"{_number(values.mean(), digits)}{spread}"


def interval(found: Interval | None) -> str:
    """+0.018 [+0.004, +0.031]"""
    if found is None:
        return NONE
    middle, low, high = (signed(x) for x in (found.value, found.low, found.high))
    return f"{middle} [{low}, {high}]"


class Tables:
    """Of one study."""

    def __init__(self, measured: Measured) -> None:
        self.measured, self.study = measured, measured.study

    def runs(self) -> str:
        """Which there are of each method, and in which fields of its config it is not CLIP."""
        plain = self.study.methods.get("clip", ())
        rows = [
            [
                label(method),
                f"`{method}`",
                ", ".join(f"`{key}={x}`" for key, x in _changed(runs[0], *plain[:1])) or NONE,
                str(len(runs)),
                ", ".join(str(run.seed) for run in runs),
                f"{runs[0].config['optimizer.peak_lr']:g}",
                f"{runs[0].step:,}",
            ]
            for method, runs in self.study.methods.items()
        ]
        heads = ["method", "in results.json", "what it changes in CLIP"]
        return markdown([*heads, "runs", "seeds", "learning rate", "steps"], rows, len(heads))

    def all_methods(self, split: str) -> str:
        """Gap and quality of every method on a split."""
        columns = {
            "centroids": claims.GAP,
            "separability": claims.SEPARABLE,
            "same-modality neighbours": claims.NEIGHBOURS,
            "alignment": claims.ALIGNMENT,
            "R@10 I→T": claims.TO_TEXT,
            "R@10 T→I": claims.TO_IMAGE,
            "NDCG@10, p = .5": ("search/ndcg@10/p0.5",),
            "zero-shot": claims.ZERO_SHOT,
            "probe": ("probe/group/lp_acc1",),
            "V-measure": claims.CLUSTERS,
        }
        return self._ours([*self.study.methods], columns, split)

    def alignclip(self) -> str:
        """Alignment scores by data set; theirs are the range over five data sets."""
        splits = [s for s in (*HELD_OUT, *OUTSIDE) if s in self.study.splits]
        rows = [
            [
                label(method),
                *(said(self.measured.values(method, s, claims.ALIGNMENT)) for s in splits),
                published.ALIGNCLIP.get(method, NONE),
            ]
            for method in self._there("clip", *TIED)
        ]
        return markdown(["alignment", *map(self._title, splits), "paper: CC3M … CIFAR-10"], rows)

    def alignclip_zero_shot(self) -> str:
        """Top 1 / top 5 by data set, then theirs."""
        kinds = dict.fromkeys(HELD_OUT, "group") | dict.fromkeys(OUTSIDE, "folder")
        sets = {
            f"{self._title(split)}, {kind}": (split, kind)
            for split, kind in kinds.items()
            if split in self.study.splits
        }
        theirs = [f"paper: {name}" for name in ("ImageNet", "CIFAR-100", "CIFAR-10")]

        def cell(method: str, split: str, kind: str) -> str:
            both = [
                self.measured.values(method, split, [f"zero_shot/{kind}/acc{k}"]) for k in (1, 5)
            ]
            return " / ".join(NONE if x is None else _number(x.mean(), 3) for x in both)

        rows = [
            [
                label(method),
                *(cell(method, *place) for place in sets.values()),
                *published.ALIGNCLIP_ZERO_SHOT.get(method, (NONE,) * 3),
            ]
            for method in self._there("clip", *TIED)
        ]
        return markdown(["top 1 / top 5", *sets, *theirs], rows)

    def contrastive_gap(self) -> str:
        """Loss by loss: separability, centroids, the three terms, recalls; theirs below."""
        rows = [
            [f"{label(method)}, ours", *self._gap_cells(method)]
            for method in self._there("clip", *UNIFORM)
        ]
        for (size, method), x in published.CONTRASTIVE_GAP.items():
            numbers = [_number(x[0], 2), _number(x[1], 3), _joined(x[2:5], 2)]
            recalls = [_joined(x[5:8], 3), _joined(x[8:], 3)]
            rows.append([f"{label(method)}, paper, D {size}", *numbers, *recalls])
        heads = ["loss", "separability", "centroids", "uniformity / cross / alignment"]
        return markdown([*heads, "I→T R@1/5/10", "T→I R@1/5/10"], rows)

    def contrastive_gap_further(self) -> str:
        """Zero-shot and arithmetic: ours on our sets, theirs on theirs."""
        ours = {
            f"{self._title(MAIN)}, group": (MAIN, claims.ZERO_SHOT),
            **{
                f"{self._title(s)}, folder": (s, ("zero_shot/folder/acc1",))
                for s in OUTSIDE
                if s in self.study.splits
            },
            "arithmetic, λ = 1": (HELD_OUT[0], claims.ARITHMETIC),
        }
        rows = [
            [label(m), *(said(self.measured.values(m, *place)) for place in ours.values())]
            for m in self._there("clip", *UNIFORM)
        ]
        heads = ["loss", "ImageNet", "DTD", "Caltech101", "CIFAR-10", "CIFAR-100", "SIMAT"]
        theirs = [
            [f"{label(m)}, paper, D {size}", *(f"{x:g}" for x in numbers)]
            for (size, m), numbers in published.CONTRASTIVE_GAP_FURTHER.items()
        ]
        return markdown(["loss", *ours], rows) + "\n\n" + markdown(heads, theirs)

    def shifted(self) -> str:
        """The gap of CLIP as both clouds, or images alone, are moved along it; theirs below."""
        grid = sorted([*published.SHIFTED["both"], 0.0])
        rows = []
        for move, theirs in published.SHIFTED.items():
            curves = [
                [run.about["shifted"][move][f"{d:g}"] for d in grid]
                for run in self.study.methods.get("clip", ())
                if "shifted" in run.about
            ]
            if curves:
                means = np.mean(curves, axis=0)
                rows.append([f"{move} moved, ours", *(_number(x, 3) for x in means)])
            known = theirs | {0.0: published.UNSHIFTED}
            cells = (f"{known[d]:.3f}" if d in known else NONE for d in grid)
            rows.append([f"{move} moved, paper", *cells])
        return markdown(["δ", *(f"{d:g}".replace("-", "−") for d in grid)], rows)

    def yaras(self) -> str:
        """Gap and text → image R@1."""
        columns = {"gap": claims.GAP, "T→I R@1": claims.FIRST_IMAGE}
        return self._beside(columns, published.YARAS)

    def cl_gap(self) -> str:
        """Gap, R@1 and V-measure."""
        columns = {"gap": claims.GAP, "R@1": claims.FIRST, "V-measure": claims.CLUSTERS}
        return self._beside(columns, published.CL_GAP)

    def recipe(self, split: str) -> str:
        """The recipe and its rivals on a split, and its differences to each by paired intervals."""
        rows = []
        for name, measures in COMPARED.items():
            values = [self.measured.values(m, split, measures) for m in (*RIVALS, RECIPE)]
            if all(x is None for x in values):
                continue  # Stamps have nothing that could ask a pool of them.
            apart = [interval(self._apart(RECIPE, rival, split, measures)) for rival in RIVALS]
            rows.append([name, *map(said, values), *apart])
        to = [f"− {label(rival)}" for rival in RIVALS]
        return markdown([self._title(split), *map(label, (*RIVALS, RECIPE)), *to], rows)

    def _apart(self, one: str, other: str, split: str, measures: Sequence[str]) -> Interval | None:
        sides = [self.measured.runs(method, split, measures) for method in (one, other)]
        if any(side is None or len(side.values) < seeds.LEAST for side in sides):
            return None
        found: Interval = seeds.apart({"": tuple(sides)}, SEED).intervals[""]  # type: ignore[dict-item]
        return found

    def _there(self, *methods: str) -> list[str]:
        return [method for method in methods if method in self.study.methods]

    def _title(self, split: str) -> str:
        return self.study.title(split) if split in self.study.splits else split

    def _ours(
        self, methods: Sequence[str], columns: Mapping[str, tuple[str, ...]], split: str
    ) -> str:
        rows = (
            [label(m), *(said(self.measured.values(m, split, x)) for x in columns.values())]
            for m in methods
        )
        return markdown([self._title(split), *columns], rows)

    def _beside(
        self, columns: Mapping[str, tuple[str, ...]], theirs: Mapping[str, tuple[float, ...]]
    ) -> str:
        """Ours and theirs of the methods that a paper has."""
        rows = [
            [
                label(method),
                *(said(self.measured.values(method, MAIN, x)) for x in columns.values()),
                *(f"{x:g}" for x in theirs[method]),
            ]
            for method in self._there(*theirs)
        ]
        return markdown(["", *columns, *(f"paper: {name}" for name in columns)], rows)

    def _gap_cells(self, method: str) -> Cells:
        def mean(*names: str) -> float:
            found = self.measured.values(method, MAIN, names)
            return math.nan if found is None else float(found.mean())

        terms = (
            mean("gap/uniformity_image", "gap/uniformity_text"),
            mean("gap/cross_uniformity"),
            2 - 2 * mean("gap/alignment_score"),  # mean ‖v − t‖² of unit rows.
        )
        yield said(self.measured.values(method, MAIN, claims.SEPARABLE))
        yield said(self.measured.values(method, MAIN, claims.GAP))
        yield _joined(terms, 2)
        for names in (RECALLS[:3], RECALLS[3:]):
            yield _joined([mean(name) for name in names], 3)


def _changed(run: Run, plain: Run | None = None) -> Iterator[tuple[str, str]]:
    """Fields that make the method, as JSON, beside the learning rate, which has a column."""
    if plain is None:
        return
    for key, value in run.fields.items():
        if key != "optimizer.peak_lr" and value != plain.fields.get(key):
            yield key, json.dumps(value, ensure_ascii=False)


def judged(found: Sequence[Judged], title: Callable[[str], str]) -> str:
    """Each claim, the paper's numbers, the difference on each split, the verdict."""
    rows = [
        [
            each.claim.paper,
            each.claim.says,
            each.claim.theirs or NONE,
            f"{label(each.claim.first)} − {label(each.claim.second)}, "
            f"{', '.join(f'`{name}`' for name in each.claim.measures)}"
            + ("" if each.items or not each.found else " (seeds alone)"),
            *(interval(each.found.get(split)) for split in HELD_OUT),
            f"**{each.verdict}**",
        ]
        for each in found
    ]
    heads = ["paper", "claim", "theirs", "ours", *map(title, HELD_OUT), ""]
    return markdown(heads, rows, len(heads))


def checked(found: Sequence[Check]) -> str:
    """Theirs beside ours."""
    rows = ([each.what, each.theirs or NONE, each.ours] for each in found)
    return markdown(["", "paper", "ours"], rows)


def _joined(values: Iterable[float], digits: int) -> str:
    return " / ".join(_number(x, digits) for x in values)


def _number(value: float, digits: int) -> str:
    return decimal(value, digits) if math.isfinite(value) else NONE
