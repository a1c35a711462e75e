"""config.evaluators.search = {"type": "search", "final": "tests"}

Mixed search: a text asks for an item of a pool whose items each stand once, as image or as text.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.data.records import Record
from aligngap.evaluation.evaluator import Evaluator, Found
from aligngap.evaluation.gap import SEED, one_image_a_group
from aligngap.evaluation.subject import Subject
from aligngap.tasks import search
from aligngap.tasks.mixed_pool import Right, chunks_of

KEYWORDS = 2  # That ask, and as many others that stand beside the name.
LEAST = 2  # Items of a pool.
KEPT = (0.0, 0.5, 1.0)  # Shares of images that are measured while training, and query by query.


class Asked(NamedTuple):
    """What asks for an item, and the text that it stands as in the pool."""

    query: str
    text: str


class Search(Evaluator):
    """One image a group is an item. Of several captions one asks, another is its text; where they
    are names, or there is one alone, two keywords ask, and its text is the name and two others.
    Values are named "ndcg@10/p0.5", by the share of images, and "fused/ndcg@10/a0.5"."""

    PRINTED = ("ndcg@10/p0", "ndcg@10/p0.5", "ndcg@10/p1")

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        super().__init__(model, entry)
        names = self.data.corpus.captions_are_names
        rows = one_image_a_group(self.data.image_group)
        found = {int(row): asked(self.data.source[int(row)], names) for row in rows}
        self._asked = {row: texts for row, texts in found.items() if texts}
        if len(self._asked) < LEAST:
            progress.say(
                f"Nothing is searched in {entry.split}: it takes {LEAST} items with two captions "
                f"each, or with {2 * KEYWORDS} keywords that are no words of the caption; "
                f"{len(self._asked)} of {len(rows)} have those"
            )

    def __call__(self, params: Any) -> Iterator[tuple[str, Found]]:
        if len(self._asked) < LEAST:
            return
        image, text, query = self._embedded(params)
        found = search.measure(chunks_of(image, text), query, Right.own(len(query)))
        if self.model.intervals:
            between = found.found(SEED, without=KEPT).values
            for name, at in itertools.product(found.scores, search.GRID):
                # The rest is what each query scored: models are compared query by query.
                value: Found = between[name][at] if at in between[name] else found.at(name, at)
                yield search.flat_name(name, at), value
            return
        for share in KEPT:
            yield f"{search.NDCG}/p{share:g}", found.at(search.NDCG, share).value

    def arrays(self, params: Any) -> dict[str, np.ndarray]:
        """The rows of items as image and as text, and of what asks for them."""
        if len(self._asked) < LEAST:
            return {}
        names = ("search/image", "search/text", "search/query")
        return dict(zip(names, self._embedded(params), strict=True))

    def _embedded(self, params: Any) -> list[Float[np.ndarray, "N D"]]:
        """Items as images, as texts, and queries: row i of each is one item's."""
        image = self.model.embedded(params, self.entry.split).image[[*self._asked]]
        query, text = (
            self.model.embedder.texts(params, texts)
            for texts in zip(*self._asked.values(), strict=True)
        )
        return [image, text, query]


def asked(record: Record, captions_are_names: bool) -> Asked | None:
    """The two texts of an item; None where it has too few. A keyword that the caption says would
    be found by the word alone."""
    if not captions_are_names and len(record.captions) > 1:
        return Asked(record.captions[1], record.captions[0])
    name = record.captions[0]
    words = set(name.lower().split())
    told = [word for word in record.keywords if not words & set(word.lower().split())]
    if len(told) < 2 * KEYWORDS:
        return None
    query, others = told[:KEYWORDS], told[KEYWORDS : 2 * KEYWORDS]
    return Asked(", ".join(query), ", ".join([name, *others]))
