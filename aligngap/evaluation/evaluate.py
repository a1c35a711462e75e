"""`aligngap evaluate`: a model, measured by its evaluators on the splits that are looked at once.

Writes evaluation.json (one tree: split, evaluator, names), gap.json, embeddings.npz and, in
CLIP_benchmark's schema, clip_benchmark/*.json.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap import progress, weights
from aligngap.data import corpora
from aligngap.errors import AligngapError, UsageError
from aligngap.evaluation import clip_benchmark, evaluator, results, shown
from aligngap.evaluation.evaluator import Found, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.results import SplitResults
from aligngap.evaluation.subject import Embedded, Subject
from aligngap.interop import opening
from aligngap.parallel import distributed
from aligngap.runs import initial
from aligngap.runs.model import Model
from aligngap.tasks.intervals import Scores


def evaluate(
    folder: Path,
    step: int | None = None,
    data_dir: str = "",
    entries: str = "",
    overrides: tuple[str, ...] = (),
) -> str:
    """Evaluates a checkpoint (the newest) of any folder with a model; returns a table.

    `entries` is a config file whose evaluators take the place of the model's own.
    """
    configs.check_overrides(overrides)
    if weights.holds(weights.find(folder)):
        raise UsageError(
            f"results are written beside a model, and {folder} comes with aligngap: `aligngap "
            f"import --source={folder} --workdir=DIR`, then evaluate DIR"
        )
    model = opening.load(folder, step)
    config = configured(model.config, data_dir, entries, overrides)
    evaluator.check(config, training=False)
    moments = _moments(config, model)
    subject = Subject(config, model.module, model.tokenizer, model.mesh, intervals=True)
    plan = _plan(config)
    if not plan:
        raise UsageError(_nothing(config, folder))
    tracked = progress.track(plan.items(), f"Evaluating {config.name}", len(plan), "splits")
    found = {split: _measure(subject, moments, split, names) for split, names in tracked}
    with distributed.together():
        if jax.process_index() == 0:
            results.write(model.folder, config, model.step, subject.corpus.main, found)
            clip_benchmark.write(model.folder, config, model.step, found)
    return "\n".join(results.table(config, model.step, found))


def configured(
    config: ConfigDict, data_dir: str, entries: str, overrides: tuple[str, ...]
) -> ConfigDict:
    """The model's own config, with what is asked for now."""
    config = ConfigDict(config.to_dict())
    config.data.data_dir = data_dir or config.data.data_dir
    if entries:
        config.evaluators = configs.load_evaluators(entries)
    given = {override.partition("=")[0] for override in overrides}
    for name, entry in config.evaluators.items():
        for option, default in evaluator.find(name, entry).OPTIONS.items():
            # An entry need not have all its options, and only a field that is there is overridden.
            if f"--config.evaluators.{name}.{option}" in given and option not in entry:
                entry[option] = default
    return configs.overridden(config, overrides)


def _moments(config: ConfigDict, model: Model) -> dict[str, Any]:
    """ "trained" and, where it is known and asked for, "initial": the parameters before training
    (an import is trained elsewhere; a model to start from may be gone)."""
    trained = {"trained": model.params}
    if model.step == 0 or not any(e.get("before", False) for e in config.evaluators.values()):
        return trained
    try:
        source = initial.find(config)
    except AligngapError as error:
        progress.say(f"Nothing is said of the model before training: {error}")
        return trained
    return {"initial": initial.params(config, model.module, model.mesh, source), **trained}


def _plan(config: ConfigDict) -> dict[str, list[str]]:
    """Split → the entries that measure it."""
    plan: dict[str, list[str]] = {}
    for name, entry in config.evaluators.items():
        for split in evaluator.splits(config, entry, entry.get("final", "tests")):
            plan.setdefault(split, []).append(name)
    return plan


def _nothing(config: ConfigDict, folder: Path) -> str:
    """Why there is nothing to measure."""
    corpus = corpora.of(config)
    if not corpora.test_splits(config):
        return f"{corpus.name} has no split for test: {corpus.advice('test')}"
    return f"no evaluator of {folder} measures anything: give --evaluators=FILE"


def _measure(
    subject: Subject, moments: Mapping[str, Any], split: str, names: list[str]
) -> SplitResults:
    data, config = subject.eval_set(split), subject.config
    # Before anything is embedded: a mistake in an entry costs no time.
    built = {name: evaluator.build(name, config.evaluators[name], split, subject) for name in names}
    pictures = shown.Thumbnails(len(data.source))
    clouds = subject.embed(split, list(moments.values()), pictures.see)
    _check(split, clouds)
    about = {
        "title": data.split.title,
        "note": data.split.note,
        "num_images": len(data.source),
        "num_captions": len(data.texts),
    }
    named: dict[str, Embedded] = dict(zip(moments, clouds, strict=True))
    result = SplitResults(about, arrays=shown.arrays(data, named, pictures.all()))
    for name, measure in built.items():
        result.trained[name] = _intervals(name, measure(moments["trained"]), result.arrays)
        result.arrays.update(measure.arrays(moments["trained"]))
        if config.evaluators[name].get("before", False) and "initial" in moments:
            result.before[name] = _intervals(name, measure(moments["initial"]), {})
    subject.forget(split)  # Those to learn from stay for the next.
    return result


def _check(split: str, clouds: list[Embedded]) -> None:
    """Before any evaluator meets them: not all can say what a NaN means."""
    if not all(np.isfinite(rows).all() for cloud in clouds for rows in cloud):
        raise AligngapError(
            f"{split}: an embedding is not finite: is this checkpoint of a run that failed?"
        )


def _intervals(
    name: str, found: Iterator[tuple[str, Found]], arrays: dict[str, np.ndarray]
) -> dict[str, Value]:
    """The values with intervals; what each item scored goes into `arrays`."""
    values = dict(found)
    for key, value in values.items():
        if isinstance(value, Scores):
            arrays |= {f"{field}/{name}/{key}": x for field, x in value.arrays().items()}
    return {k: x.interval(SEED) if isinstance(x, Scores) else x for k, x in values.items()}
