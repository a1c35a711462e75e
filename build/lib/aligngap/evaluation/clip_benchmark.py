"""What an evaluation found in the schema of LAION's CLIP_benchmark, for what reads its results:
WORKDIR/clip_benchmark/*.json, one of each set and task, as `clip_benchmark build` takes them."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from aligngap import atomic
from aligngap.data import corpora
from aligngap.evaluation import evaluator
from aligngap.evaluation.evaluator import Value
from aligngap.evaluation.results import SplitResults

FOLDER = "clip_benchmark"
TEMPLATE = "{dataset}_{pretrained}_{model}_{language}_{task}"  # Of its own file names.


def write(folder: Path, config: ConfigDict, step: int, results: Mapping[str, SplitResults]) -> None:
    """The files of this evaluation in place of an earlier one's."""
    pretrained = f"{folder.resolve().name}_step{step}"
    written = set()
    for entry in (e for split, r in results.items() for e in entries(config, split, r.trained)):
        found = {"dataset": "", "model": config.name, "pretrained": pretrained, **entry}
        # A set may be measured on several splits, or by several kinds of labels.
        also = [found[key] for key in ("split", "labels", "evaluator") if key in found]
        name = "_".join([TEMPLATE.format(**found), *also])
        path = folder / FOLDER / (re.sub(r"[^\w.-]+", "_", name) + ".json")
        atomic.write_json(path, found)
        written.add(path)
    for path in (folder / FOLDER).glob("*.json"):
        if path not in written:
            path.unlink()


def entries(
    config: ConfigDict, split: str, found: Mapping[str, Mapping[str, Value]]
) -> Iterator[dict[str, Any]]:
    """{dataset, task, metrics, language} of what CLIP_benchmark has a task for; beside its own
    fields the split, the evaluator's name and the kind of labels."""
    corpus, own = corpora.named(config, split)
    dataset = corpus.benchmark.name or corpus.name
    for name, values in found.items():
        entry = config.evaluators[name]
        task = evaluator.find(name, entry).TASK
        if not task:
            continue
        language = entry.get("language", "en")
        for path in dict.fromkeys(key.rpartition("/")[0] for key in values):
            below = {key.rpartition("/")[2]: x for key, x in values.items() if _is_in(key, path)}
            labels = {"labels": path} if path else {}
            metrics = {key: _number(value) for key, value in below.items()}
            yield {
                **{"dataset": dataset, "task": task, "metrics": metrics, "language": language},
                **{"split": own, "evaluator": name, **labels},
            }


def _is_in(key: str, path: str) -> bool:
    return key.rpartition("/")[0] == path


def _number(value: Value) -> float | None:
    number = float(value if isinstance(value, int | float) else value.value)
    return number if math.isfinite(number) else None
