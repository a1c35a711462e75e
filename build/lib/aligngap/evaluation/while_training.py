"""What a training run measures every n steps."""

from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.evaluation import evaluator
from aligngap.evaluation.evaluator import Evaluator
from aligngap.evaluation.subject import Subject
from aligngap.models.dual_encoder import DualEncoder


class WhileTraining:
    """The evaluators of the config's entries that have a period, built when it is made."""

    def __init__(
        self, config: ConfigDict, module: DualEncoder, tokenizer: Tokenizer, mesh: Mesh
    ) -> None:
        self._steps = config.steps
        self._entries = {n: e for n, e in config.evaluators.items() if e.get("every_steps", 0)}
        self._subject = Subject(config, module, tokenizer, mesh, intervals=False)
        self._built = {name: self._build(config, name) for name in self._entries}

    def due(self, step: int) -> tuple[str, ...]:
        """The names of the entries to be measured after `step` steps; after the last, all."""
        if step == self._steps:
            return tuple(self._entries)
        return tuple(
            name
            for name, entry in self._entries.items()
            if (entry.get("first", True) if step == 0 else step % entry.every_steps == 0)
        )

    def __call__(self, params: Any, names: Sequence[str]) -> dict[str, float]:
        """{"SPLIT/EVALUATOR/NAME": value} of these entries, such as
        "validation/retrieval/text_retrieval_recall@10"."""
        found = {
            f"{split}/{name}/{key}": float(value if isinstance(value, int | float) else value.value)
            for name in names
            for split, measure in self._built[name].items()
            for key, value in measure(params)
        }
        self._subject.forget()
        return found

    def _build(self, config: ConfigDict, name: str) -> dict[str, Evaluator]:
        """The entry's evaluator of each of its splits, by what a curve calls them."""
        entry = self._entries[name]
        wanted = entry.get("split", "validation")
        return {
            wanted if wanted == "validation" else split: evaluator.build(
                name, entry, split, self._subject
            )
            for split in evaluator.splits(config, entry, wanted)
        }
