"""The sentences say what the numbers say, whichever way they fall."""

import dataclasses

import pytest

from aligngap.intervals import Interval
from aligngap.reporting import words
from aligngap.reporting.run_page import findings
from aligngap.reporting.run_page.runs import read

SPLIT = "test_unseen_concept"


def changed(run, **numbers):
    """The run with its headline gap, recall, or both replaced by Intervals."""
    split = run.splits[SPLIT]
    gap = split.gap | ({words.GAP: numbers["gap"]} if "gap" in numbers else {})
    found = {findings.FOUND: numbers["recall"]} if "recall" in numbers else {}
    own = split.values | {"gap": gap, "retrieval": split.retrieval | found}
    split = dataclasses.replace(split, values=own)
    return dataclasses.replace(run, splits=run.splits | {SPLIT: split})


def test_headline_gives_both_sides(pair):
    sentence = findings.headline(read(pair)).replace("\u202f", " ")
    assert sentence == (
        "The modality gap is 0.51 with CLIP and 0.16 with AlignCLIP; the right caption is among "
        "the first ten for 19.6 % of images with CLIP and 14.5 % with AlignCLIP, "
        "against 3.2 % by chance."
    )


def test_headline_of_one_and_of_three_runs(pair):
    runs = read(pair)
    assert findings.headline(runs[:1]).startswith("The modality gap is 0.51 with CLIP; ")
    sentence = findings.headline([runs[0], runs[1], runs[0]])
    assert "0.51 with CLIP, 0.16 with AlignCLIP and 0.51 with CLIP" in sentence


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (Interval(0.2, 0.1, 0.3), "0.31 (61 %) smaller, intervals apart"),
        (Interval(0.5, 0.4, 0.6), "0.01 (2 %) smaller, intervals overlap"),
        (Interval(0.9, 0.8, 1.0), "0.39 (76 %) larger, intervals apart"),
        (Interval(0.5123, 0.4, 0.6), "unchanged at 0.51"),
    ],
)
def test_gap_changes(pair, gap, words):
    first, other = read(pair)
    (_, found), *_ = findings.changes([first, changed(other, gap=gap)])
    assert dict(found)["gap"].replace("\u202f", " ") == words


@pytest.mark.parametrize(
    ("recall", "words"),
    [
        (Interval(0.1452, 0.1, 0.16), "5.1 points lower, intervals overlap"),
        (Interval(0.4, 0.3, 0.5), "20.4 points higher, intervals apart"),
        (Interval(0.1963, 0.1, 0.3), "unchanged at 19.6 %"),
    ],
)
def test_recall_changes(pair, recall, words):
    first, other = read(pair)
    (who, found), *_ = findings.changes([first, changed(other, recall=recall)])
    assert who == "AlignCLIP against CLIP"
    assert dict(found)["image → text R@10"].replace("\u202f", " ") == words


def test_numbers_as_they_are_printed():
    assert words.decimal(-0.0004) == "0.00"
    assert words.decimal(-1.505, 2) == "−1.50"
    assert words.decimal(float("nan")) == "not measured"
    assert words.percent(0.1964) == "19.6\u202f%"


def test_names_of_metrics():
    assert findings.retrieval_name("text_retrieval_recall@5") == "image → text R@5"
    assert findings.retrieval_name("image_retrieval_recall@1") == "text → image R@1"
    assert findings.retrieval_name("something else") == "something else"


def test_headline_of_what_was_not_measured(pair):
    """By other evaluators than ours: it says who measured, and no number that is not there."""
    found = []
    for run in read(pair):
        split = dataclasses.replace(run.splits[SPLIT], values={"mine": {}, "of_others": {}})
        found.append(dataclasses.replace(run, splits={SPLIT: split}))
    assert findings.headline(found) == "What was measured: mine, of_others."
    assert findings.changes(found) == [("AlignCLIP against CLIP", [])]
