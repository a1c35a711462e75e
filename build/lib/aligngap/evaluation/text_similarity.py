"""config.evaluators.sts = {"type": "text_similarity", "pairs": "sts.tsv", "final": "validation"}

Spearman's correlation between cosines of sentences and people's scores, as of the STS benchmark: a
line a pair, score<TAB>sentence<TAB>sentence. It reads no split: `final` names one to stand beside.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.gap import sources
from aligngap.tasks import text_similarity


class TextSimilarity(Evaluator):
    """The name is "spearman"."""

    OPTIONS: ClassVar = {"pairs": ""}

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        if not entry.pairs:
            raise UsageError("text_similarity needs pairs=FILE: score<TAB>sentence<TAB>sentence")
        columns = sources.table(entry.pairs, "score, sentence, sentence")
        self.scores = sources.numbers(entry.pairs, columns[0])
        self.sentences = columns[1:]

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        count = len(self.scores)
        rows = self.model.embedder.texts(params, [*self.sentences[0], *self.sentences[1]])
        found = text_similarity.evaluate(rows[:count], rows[count:], self.scores, SEED)
        yield "spearman", found if self.model.intervals else found.value
