"""The model card: what an exported model is, from what its workdir says of it."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from ml_collections import ConfigDict

from aligngap.data import corpora
from aligngap.data.corpus import Licence
from aligngap.errors import AligngapError
from aligngap.interop import rounding
from aligngap.intervals import Interval
from aligngap.runs import provenance
from aligngap.runs.model import Model
from aligngap.runs.workdir import read_json

TEMPLATE = "model_card.md.j2"
SHOWN = ("text_retrieval_recall@10", "image_retrieval_recall@10")
GAPS = ("centroid_distance", "alignment_score", "relative_modality_gap")


def text(model: Model, form: str, half: bool = False) -> str:
    """Markdown for README.md: data, recipe, gap, evaluation, licence, and how to load it; of a
    model in float16 what that costs it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.files("aligngap.interop"))),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, and no caption or other text of strangers goes in.
    )
    page = environment.get_template(TEMPLATE)
    config = model.config
    return page.render(
        config=config,
        form=form,
        half=half,
        cost=rounding.cost(model) if half else "",
        step=model.step,
        trained=model.step > 0,
        tokenizer=model.tokenizer,
        snippet=model.tokenizer and model.tokenizer.snippet(config.model.text.context_length),
        cleaned=bool(model.tokenizer and model.tokenizer.cleans),
        train_split=config.data.train_split or _train_split(config),
        commands=provenance.commands(model.folder),
        objective={k: v for k, v in config.objective.items() if k.endswith("_weight") and v},
        evaluation=_evaluation(model.folder, model.step),
        licences=_licences(config) if model.step else [],
    )


def _evaluation(workdir: Path, step: int) -> list[dict[str, Any]]:
    """Recall at 10 and the gap of each split; empty where this step has not been evaluated."""
    paths = [workdir / name for name in ("evaluation.json", "gap.json")]
    found, gaps = (read_json(path) if path.exists() else {} for path in paths)
    if not found.get("step") == gaps.get("step") == step:
        return []
    try:
        return list(_rows(found, gaps))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise AligngapError(
            f"{paths[0]} or {paths[1].name} is damaged ({type(error).__name__} {error}): run "
            f"`aligngap evaluate --workdir={workdir}` again"
        ) from error


def _rows(found: dict[str, Any], gaps: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, split in found["splits"].items():
        measures = gaps["splits"].get(name, {}).get("measures", {})
        recalls = split.get("retrieval", {})
        if {*SHOWN, *GAPS} <= {*recalls, *measures}:  # Else other evaluators measured it.
            shown = {key: recalls[key] for key in SHOWN} | {key: measures[key] for key in GAPS}
            yield {"split": name} | {k: Interval.from_json(x) for k, x in shown.items()}


def _train_split(config: ConfigDict) -> str:
    try:
        return ", ".join(corpora.trained_on(config))
    except AligngapError:  # Likewise.
        return "train"


def _licences(config: ConfigDict) -> list[Licence]:
    try:
        return list(corpora.of(config).licences())
    except AligngapError:  # A corpus that this version does not know, or that is not at hand.
        return []
