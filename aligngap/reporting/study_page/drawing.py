"""What is read of an evaluated run's embeddings, and of its items' scores."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from aligngap.evaluation.gap import SEED, one_image_a_group
from aligngap.gap import clouds
from aligngap.gap import intervals as gap_intervals
from aligngap.json_text import NUMBER
from aligngap.reporting import figures
from aligngap.reporting.compare_page.methods import Evaluated
from aligngap.reporting.study_page import published
from aligngap.reporting.study_page.checks import gaps
from aligngap.reporting.study_page.rates import last_with
from aligngap.tasks.intervals import RESAMPLES

Draws = Float[np.ndarray, "R"]
SCALE = "train/scale"


def moved(run: Evaluated, split: str, measures: Sequence[str]) -> dict[str, Draws]:
    """EVALUATOR/NAME → how far draws of the items move it; without those whose items are unknown,
    or that were not measured."""
    gap: dict[str, Draws] = {}
    found: dict[str, Draws] = {}
    for measure in measures:
        evaluator, _, name = measure.partition("/")
        value = run.splits[split].values.get(evaluator, {}).get(name)
        if value is None:
            continue
        if run.evaluators[evaluator]["type"] == "gap":
            gap = gap or _gap(run, split)
            drawn = gap.get(name)
        else:
            scores = run.scores(split, evaluator, name)
            drawn = None if scores is None else scores.drawn(SEED)
        if drawn is not None:
            found[measure] = drawn - value.value
    return found


def _gap(run: Evaluated, split: str) -> dict[str, Draws]:
    """As the evaluator measures it: one image a group, with its text."""
    image, text, group = _pairs(run, split)
    rows = one_image_a_group(group)
    found = clouds.in_memory(image[rows], text[rows], clouds.EXACT_PAIRS, SEED)
    return gap_intervals.drawn(found, SEED, RESAMPLES)


def shifted(run: Evaluated, split: str) -> dict[str, dict[str, float]]:
    """What is moved → δ → the signed gap, at the δs of Mind the Gap's table."""
    image, text, _ = _pairs(run, split)
    grid = sorted([*published.SHIFTED["both"], 0.0])
    return {
        move: {
            f"{delta:g}": round(found, 4)
            for delta, found in zip(grid, gaps(image, text, grid, move), strict=True)
        }
        for move in published.SHIFTED
    }


def plane(run: Evaluated, split: str) -> dict[str, np.ndarray]:
    """Its pairs in the plane of their greatest variance."""
    image, text, _ = _pairs(run, split)
    found = figures.project(image, text, np.arange(len(image)))
    own = {"image": found.image, "text": found.text, "shares": np.array(found.shares)}
    return {f"plane_{name}": x.astype(np.float16) for name, x in own.items()}


def logit_scale(run: Evaluated) -> float | None:
    """Where training has left it; None for a model that was not trained here."""
    if not (run.workdir / "metrics.jsonl").is_file():
        return None
    record = last_with(run.workdir, {SCALE: NUMBER | None})  # null was nan.
    return None if record is None else record[SCALE]


def _pairs(run: Evaluated, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The embeddings of a split's images, of their texts, and the images' groups."""
    with np.load(run.workdir / "embeddings.npz") as arrays:
        image, text = arrays[f"{split}/trained/image"], arrays[f"{split}/trained/pair_text"]
        return image, text, arrays[f"{split}/caption_group"][arrays[f"{split}/image_caption"]]
