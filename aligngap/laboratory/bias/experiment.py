"""`aligngap gap bias`: what the images of each group are matched to, as the gap is changed.

The fairness experiment of Liang et al. 2022 (section 5) for any labelled images: each image is
matched to its nearest prompt. The paper takes its shift from the curves that it reports; here none
is chosen: beside the unshifted gap stands the closed one, whatever it does.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse, stats

from aligngap import gap, progress
from aligngap.errors import AligngapError, UsageError
from aligngap.gap import copies, files, sources
from aligngap.gap.streaming import sample
from aligngap.intervals import CONFIDENCE
from aligngap.laboratory.bias.figure import draw, summary
from aligngap.laboratory.shared import along_gap
from aligngap.laboratory.shared.embeddings import FILES, read_texts
from aligngap.laboratory.shared.result import Result
from aligngap.tasks.intervals import Scores, difference
from aligngap.tasks.standings import TIE

MOST_CATEGORIES = 12  # each is a panel
SHUFFLES = 1000


@dataclass(frozen=True)
class Matching:
    """Images with a group each, to be matched to prompts with a category each."""

    image: Float[np.ndarray, "N D"]
    prompts: Float[np.ndarray, "P D"]
    others: Float[np.ndarray, "M D"]  # what the gap is between images and
    groups: list[str]
    group: Int[np.ndarray, "N"]
    categories: list[str]
    category: Int[np.ndarray, "P"]
    right: Bool[np.ndarray, "G P"]  # prompt p is right for images of group g


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The files, the grid of shifts, and sizes."""
    lines = "an array of names or whole numbers, or a text file of lines"
    parser.add_argument("--image", required=True, help=f"image embeddings [N, D]: {FILES}")
    parser.add_argument("--labels", required=True, help=f"the group of each image: {lines}")
    parser.add_argument("--classes", required=True, help="embeddings of the prompts [P, D]")
    parser.add_argument("--categories", required=True, help=f"that of each prompt: {lines}")
    parser.add_argument(
        "--own", help="the group that each prompt is right for, or an empty line: adds accuracy"
    )
    parser.add_argument(
        "--text", help="captions [M, D]: shift along the gap of images and these, not the prompts"
    )
    along_gap.add_flags(parser)
    parser.add_argument(
        "--images", type=int, default=20_000, help="most images; beyond, a sample (20000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and shuffles (0)")


def run(arguments: argparse.Namespace) -> Result:
    """Shares of each group in each category, and accuracy, against the gap."""
    if arguments.images < 1 or arguments.seed < 0:
        raise UsageError("--images is at least 1, and --seed at least 0")
    deltas = along_gap.grid(arguments)
    matching, given = _read(arguments)
    found = _found(matching, deltas, arguments.move, arguments.seed)
    sizes = {**given, "images": len(matching.image), "prompts": len(matching.prompts)}
    sizes |= {"dimension": matching.image.shape[1], "shuffles": SHUFFLES}
    what = "captions" if arguments.text else "prompts"
    return Result(
        "bias",
        vars(arguments) | sizes,
        found,
        draw(found, f"signed gap between images and {what}"),
        summary(found, what),
    )


def matched(
    image: Float[np.ndarray, "N D"], prompts: Float[np.ndarray, "P D"]
) -> Float[np.ndarray, "N P"]:
    """1 at each image's nearest prompt; prompts that tie share it."""
    scores = np.asarray(image, np.float64) @ np.asarray(prompts, np.float64).T
    nearest = scores >= scores.max(axis=1, keepdims=True) - TIE
    return nearest / nearest.sum(axis=1, keepdims=True)


def _read(arguments: argparse.Namespace) -> tuple[Matching, dict[str, Any]]:
    """What the files hold, equal images of a group once; how many there were before the sample."""
    image = files.load(arguments.image)
    prompts = read_texts(arguments.classes, image.shape[1])
    groups, group = _names(arguments.labels, len(image), "images")
    categories, category = _names(arguments.categories, len(prompts), "prompts")
    if not 2 <= len(categories) <= MOST_CATEGORIES:
        raise AligngapError(
            f"{arguments.categories} names {len(categories)} categories; expected 2 to "
            f"{MOST_CATEGORIES}"
        )
    right = np.zeros((len(groups), len(prompts)), bool)
    if arguments.own:
        right = _right(arguments.own, groups, len(prompts))
    others = read_texts(arguments.text, image.shape[1]) if arguments.text else prompts
    given, once = len(image), copies.first(copies.among(image, group))
    image, group = image[once], group[once]
    rows = sample(len(image), arguments.images, arguments.seed)
    kept, group = np.unique(group[rows], return_inverse=True)  # a sample may miss a group
    groups, right = [groups[each] for each in kept], right[kept]
    matching = Matching(image[rows], prompts, others, groups, group, categories, category, right)
    return matching, {"images_given": given, "copies": {"image": int((~once).sum())}}


def _names(given: str, rows: int, of: str) -> tuple[list[str], Int[np.ndarray, "n"]]:
    names, index = sources.labels(given, rows, of)
    if "" in names:
        empty = int(np.flatnonzero(index == names.index(""))[0])
        raise AligngapError(f"{given}: line {empty + 1} is empty; expected a name in each")
    return names, index


def _right(given: str, groups: list[str], prompts: int) -> Bool[np.ndarray, "G P"]:
    """Which prompt is right for which group; a prompt may be right for a group without images."""
    names, index = sources.labels(given, prompts, "prompts")
    right = np.array(groups)[:, None] == np.array(names)[index]
    if not right.any():
        raise AligngapError(
            f"{given}: no prompt is right for any group; the groups are {', '.join(groups[:10])}"
        )
    return right


def _found(matching: Matching, deltas: np.ndarray, move: str, seed: int) -> dict[str, Any]:
    distance = along_gap.distance(matching.image, matching.others)
    vector = gap.gap_vector(matching.image, matching.others)
    curve = along_gap.curve(matching.image, matching.others, deltas, move)
    of_category = np.eye(len(matching.categories))[matching.category]
    right = matching.right[matching.group]
    known = right.any(axis=1)

    def hits(delta: float) -> tuple[np.ndarray, np.ndarray]:
        """(image × category, image): whether it is matched to the category, to a right prompt."""
        moved = gap.shift(matching.image, matching.prompts, delta, vector=vector, move=move)
        weights = matched(*map(np.asarray, moved))
        return weights @ of_category, (weights * right).sum(axis=1)[known]

    shares, correct = [], []
    for delta in progress.track(deltas, "matching", len(deltas), "shifts"):
        categories, own = hits(delta)
        shares.append(_shares(categories, matching.group))
        correct.append(own)
    start = int(np.argmin(np.abs(deltas)))
    closed = None if curve["closes_at"] is None else int(np.abs(curve["gap"]).argmin())
    chance = _by_chance(hits(0.0)[0], matching.group, seed)
    found = {
        "gap": distance,
        "curve": curve,
        "unshifted_at": start,
        "closed_at": closed,
        "groups": _groups(matching, np.array(shares), start),
        "categories": _categories(matching, np.array(shares), chance),
    }
    if known.any():
        found["accuracy"] = _accuracy(matching, correct, known, start, closed, seed)
    return found


def _shares(
    hits: Float[np.ndarray, "N K"], group: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "G K"]:
    """The mean of each group's images; every group has some."""
    counts = np.bincount(group)
    rows = np.arange(len(group))
    return sparse.csr_array((1 / counts[group], (group, rows)), (len(counts), len(rows))) @ hits


def _by_chance(
    hits: Float[np.ndarray, "N K"], group: Int[np.ndarray, "N"], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The largest difference between groups where they differ by nothing: labels shuffled among
    the images. Mean and 95 % quantile for each category."""
    random = np.random.default_rng(seed)
    found = [np.ptp(_shares(hits, random.permutation(group)), axis=0) for _ in range(SHUFFLES)]
    return np.mean(found, axis=0), np.quantile(found, CONFIDENCE, axis=0)


def _groups(matching: Matching, shares: Float[np.ndarray, "S G K"], start: int) -> dict[str, Any]:
    """name → its images, and for each category its shares and the interval at the unshifted gap."""
    counts = np.bincount(matching.group)
    return {
        name: {
            "images": int(counts[g]),
            "shares": {c: shares[:, g, k].tolist() for k, c in enumerate(matching.categories)},
            "unshifted": {
                c: _wilson(float(shares[start, g, k]), int(counts[g]))
                for k, c in enumerate(matching.categories)
            },
        }
        for g, name in enumerate(matching.groups)
    }


def _wilson(share: float, count: int) -> dict[str, float]:
    """A share with its Wilson interval, images being independent; ties round to whole images."""
    interval = stats.binomtest(round(share * count), count).proportion_ci(CONFIDENCE, "wilson")
    return {"value": share, "low": float(interval.low), "high": float(interval.high)}


def _categories(
    matching: Matching, shares: np.ndarray, chance: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """name → its prompts, and the largest difference between two groups at each gap."""
    differences = np.ptp(shares, axis=1)
    return {
        name: {
            "prompts": int((matching.category == k).sum()),
            "largest_difference": differences[:, k].tolist(),
            "unshifted_by_chance": {"mean": float(chance[0][k]), "high": float(chance[1][k])},
        }
        for k, name in enumerate(matching.categories)
    }


def _accuracy(
    matching: Matching,
    correct: Sequence[np.ndarray],
    known: np.ndarray,
    start: int,
    closed: int | None,
    seed: int,
) -> dict[str, Any]:
    """Accuracy of the images whose group has a prompt; what closing changes, with its interval."""
    chance = float(matching.right[matching.group][known].mean())
    scores = [Scores(each, np.arange(len(each)), chance) for each in correct]
    found: dict[str, Any] = {
        "images": int(known.sum()),
        "value": [float(each.mean()) for each in correct],
        "unshifted": scores[start].interval(seed).as_json(),
    }
    if closed is not None:
        change = difference([scores[closed]], [scores[start]], seed)
        found["change_when_closed"] = change.as_json()
    return found
