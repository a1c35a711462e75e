"""A trained run, measured on its test splits: writes evaluation.json, gap.json, embeddings.npz."""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from aligngap import progress, whole
from aligngap.data import images, splits
from aligngap.data.splits import Split
from aligngap.errors import AligngapError
from aligngap.gap import files as gap_files
from aligngap.gap.intervals import Interval, intervals
from aligngap.runs import model as models
from aligngap.runs import provenance
from aligngap.runs.checkpoints import Checkpoints
from aligngap.runs.embedder import Embedder
from aligngap.tasks import retrieval, zero_shot
from aligngap.tasks.intervals import Estimate
from aligngap.training import initial, loop
from aligngap.training.loop import Run

KINDS = ("group", "subgroup")
MAIN_SPLIT = "test_unseen_concept"  # Whose gap stands at the top of gap.json.
GALLERY = 12  # Images of each split that reports show.
THUMBNAIL = 64  # Pixels a side of what reports and maps show of an image.
Cloud = tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "C D"]]  # of images, of captions
SEED = 0  # Of what is drawn from a test split: the same for every run, so that runs compare.


@dataclass(frozen=True)
class Result:
    """What was found on one split."""

    retrieval: dict[str, Estimate]
    zero_shot: dict[str, dict[str, Estimate]]
    gap: dict[str, dict[str, Interval]]  # At each moment.
    arrays: dict[str, np.ndarray]


def evaluate(workdir: Path, step: int | None = None, data_dir: str = "") -> str:
    """Evaluates a checkpoint (the newest) and what the run started from; returns a table."""
    run = loop.reopen(workdir, data_dir)
    step, params = _parameters(run, step)
    embedder = Embedder(run.config, run.model, run.tokenizer, run.mesh)
    tests = [splits.read(run.config, name) for name in run.config.data.test_splits]
    classes = {
        kind: _class_texts(
            embedder, params["trained"], {c for s in tests for c in _classes(s, kind)}
        )
        for kind in KINDS
    }
    results = {
        split.name: _measure(run, embedder, params, split, classes)
        for split in progress.track(tests, f"Evaluating {run.config.name}", len(tests), "splits")
    }
    _write(run, step, tests, results)
    return _table(run, step, results)


def _parameters(run: Run, step: int | None) -> tuple[int, dict[str, Any]]:
    """The step found, and the parameters at each moment: "trained", and "initial" where they are
    known (an import is trained elsewhere; a model to start from may be gone)."""
    with Checkpoints(run.workdir, run.config) as checkpoints:
        step = checkpoints.choose(step)
        trained = models.restore_params(run.config, run.model, run.mesh, checkpoints, step)
    if step == 0:
        return step, {"trained": trained}
    try:
        source = initial.find(run.config)
    except AligngapError as error:
        progress.say(f"Nothing is said of the model before training: {error}")
        return step, {"trained": trained}
    first = initial.create(run.config, run.model, run.tx, run.mesh, source)
    return step, {"initial": first.params, "trained": trained}


def _measure(
    run: Run,
    embedder: Embedder,
    params: Mapping[str, Any],
    split: Split,
    classes: Mapping[str, dict[str, np.ndarray]],
) -> Result:
    clouds, pictures = _embedded(run.config, embedder, params, split)
    image, text = clouds["trained"]
    rows = {kind: _class_rows(split, kind, list(prompts)) for kind, prompts in classes.items()}
    labels = {
        kind: zero_shot.classify(image, list(prompts.values()), rows[kind], split.concept, SEED)
        for kind, prompts in classes.items()
    }
    pairs = one_image_a_concept(split.concept)
    found = {
        moment: intervals(image[pairs], text[split.concept[pairs]], seed=SEED)
        for moment, (image, text) in clouds.items()
    }
    captions = np.arange(len(text))
    return Result(
        retrieval.evaluate(image, text, split.concept, captions, SEED),
        labels,
        found,
        _arrays(split, clouds, pictures) | _class_arrays(split, classes, rows),
    )


def _embedded(
    config: ConfigDict, embedder: Embedder, params: Mapping[str, Any], split: Split
) -> tuple[dict[str, Cloud], UInt8[np.ndarray, "N T T 3"]]:
    """(the embeddings at each moment, a thumbnail an image); every image is decoded once."""
    pictures = np.empty((len(split.source), THUMBNAIL, THUMBNAIL, 3), np.uint8)

    def pixels() -> Iterator[UInt8[np.ndarray, "R R 3"]]:
        for row, image in enumerate(split.decoded()):
            pictures[row] = images.resize(image, THUMBNAIL)
            yield images.RESIZES[config.data.resize](image, config.model.image.size)

    copies = zip(params, itertools.tee(embedder.batches(pixels()), len(params)), strict=True)
    # The moments take turns, so that no pixels are held but those of the batches under way.
    parts = zip(*(embedder.image_batches(params[m], copy) for m, copy in copies), strict=True)
    rows = map(np.concatenate, zip(*parts, strict=True))
    clouds = {
        moment: (image, embedder.texts(params[moment], split.captions))
        for moment, image in zip(params, rows, strict=True)
    }
    return clouds, pictures


def class_prompts(name: str) -> list[str]:
    """The texts of a class: "food-drink" is "food drink", "food" and "drink"."""
    words = name.split("-")
    return [" ".join(words), *(words if len(words) > 1 else [])]


def _class_texts(
    embedder: Embedder, params: Any, names: Iterable[str]
) -> dict[str, Float[np.ndarray, "_ D"]]:
    """Class name → embeddings of its prompts, all of them in one pass."""
    prompts = {name: class_prompts(name) for name in sorted(names)}
    rows = embedder.texts(params, [prompt for texts in prompts.values() for prompt in texts])
    ends = np.cumsum([len(texts) for texts in prompts.values()])[:-1]
    return dict(zip(prompts, np.split(rows, ends), strict=True))


def one_image_a_concept(concept: Int[np.ndarray, "N"]) -> Int[np.ndarray, "C"]:
    """Rows to measure the gap on: were a caption there once for each of its images, its copies
    would count as pairs of texts."""
    order = np.random.default_rng(SEED).permutation(len(concept))
    _, first = np.unique(concept[order], return_index=True)
    return np.sort(order[first])


def _classes(split: Split, kind: str) -> list[str]:
    return split.group if kind == "group" else split.subgroup


def _class_rows(split: Split, kind: str, names: list[str]) -> Int[np.ndarray, "N"]:
    """Each image's class as its place among the names."""
    return np.array([names.index(name) for name in _classes(split, kind)])[split.concept]


def _class_arrays(
    split: Split, classes: Mapping[str, dict[str, np.ndarray]], rows: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What `aligngap gap shift | bias` need of zero-shot: names [C] of the classes, their texts'
    embeddings [C, D] as `zero_shot.classify` uses them, and each image's row of these."""
    found = {}
    for kind, prompts in classes.items():
        found[f"{split.name}/{kind}_names"] = np.array(list(prompts))
        embedded = zero_shot.class_embeddings(list(prompts.values()))
        found[f"{split.name}/{kind}_classes"] = embedded.astype(np.float32)
        found[f"{split.name}/{kind}_rows"] = rows[kind]
    return found


def _arrays(
    split: Split,
    clouds: Mapping[str, Cloud],
    pictures: UInt8[np.ndarray, "N T T 3"],
) -> dict[str, np.ndarray]:
    """What a report draws: embeddings at each moment, captions, and which images it shows.

    `pair_*` have a row an image, as `aligngap gap` reads pairs.
    """
    rows = np.random.default_rng(SEED).choice(
        len(split.source), size=min(GALLERY, len(split.source)), replace=False
    )
    found = {
        "image_concept": split.concept,
        "captions": np.array(split.captions),
        "group": np.array(split.group)[split.concept],
        "pair_caption": np.array(split.captions)[split.concept],
        "pair_picture": pictures,
        "gallery_rows": rows,
    }
    for moment, (image, text) in clouds.items():
        found |= {f"{moment}/image": image, f"{moment}/text": text}
        found[f"{moment}/pair_text"] = text[split.concept]
    return {f"{split.name}/{name}": array for name, array in found.items()}


def _write(run: Run, step: int, tests: list[Split], results: Mapping[str, Result]) -> None:
    """Each file says its step: killed between two of them, readers see that they do not belong."""
    evaluation = {
        "model": run.config.name,
        "step": step,
        "commands": provenance.commands(run.workdir),
        "versions": provenance.versions(),
        "splits": {
            split.name: {
                "num_images": len(split.source),
                "num_captions": len(split.captions),
                "retrieval": _plain(results[split.name].retrieval),
                "zero_shot": {k: _plain(v) for k, v in results[split.name].zero_shot.items()},
            }
            for split in tests
        },
    }
    gaps = {
        moment: {
            name: {"measures": gap_files.as_json(result.gap[moment])}
            for name, result in results.items()
        }
        for moment in next(iter(results.values())).gap
    }
    main = gaps["trained"][MAIN_SPLIT if MAIN_SPLIT in results else next(iter(results))]
    arrays = {k: v for result in results.values() for k, v in result.arrays.items()}
    whole.write(run.workdir / "embeddings.npz", _npz(arrays | {"step": np.array(step)}))
    moments = {"splits": gaps.pop("trained"), **gaps}
    whole.write_json(run.workdir / "gap.json", {"step": step} | main | moments)
    whole.write_json(run.workdir / "evaluation.json", evaluation)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _plain(found: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(estimate) for name, estimate in found.items()}


def _table(run: Run, step: int, results: Mapping[str, Result]) -> str:
    """Recall at 10, zero-shot accuracy and the gap of each split, with intervals and chance."""
    lines = [f"{run.config.name} at step {step}: value [95 % interval], chance"]
    for name, result in results.items():
        lines.append(name)
        shown = {k: v for k, v in result.retrieval.items() if k.endswith("@10")}
        shown |= {f"zero_shot_{kind}_acc1": v["acc1"] for kind, v in result.zero_shot.items()}
        lines += [
            f"  {key:<28} {x.value:.3f} [{x.low:.3f}, {x.high:.3f}], {x.chance:.4f}"
            for key, x in shown.items()
        ]
        lines += [
            f"  {key:<28} {x.value:.3f} [{x.low:.3f}, {x.high:.3f}]" + _before(result, key)
            for key, x in result.gap["trained"].items()
            if key in ("centroid_distance", "alignment_score")
        ]
    return "\n".join(lines)


def _before(result: Result, measure: str) -> str:
    before = result.gap.get("initial")
    return f", before training {before[measure].value:.3f}" if before else ""
