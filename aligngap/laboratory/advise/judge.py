"""What transforms are judged by: the tasks that embeddings in files allow, item by item."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from aligngap.tasks import intra_modal, search, zero_shot
from aligngap.tasks.intervals import Scores
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.tasks.retrieval import reciprocal_ranks


class Task(NamedTuple):
    """What it is called, and what it is measured by: one measure each, or chance has more goes."""

    title: str
    measure: str


TASKS = {
    "image_to_text": Task("image → text", "MRR@10"),
    "text_to_image": Task("text → image", "MRR@10"),
    "mixed_search": Task("mixed search", "NDCG@10"),
    "nearest_class": Task("image → class", "accuracy"),
    "class_in_pool": Task("class in the pool", "mAP"),
}
SEARCH = "mixed_search"


class Embedded(NamedTuple):
    """Rows of length 1 of J judged pairs, and of K texts of the other half that name classes."""

    image: Float[np.ndarray, "J D"]
    text: Float[np.ndarray, "J D"]
    query: Float[np.ndarray, "J D"]
    class_text: Float[np.ndarray, "K D"]


class Classes(NamedTuple):
    """A number for each judged pair, and for each text of the other half that names classes."""

    judged: Int[np.ndarray, "J"]
    named: Int[np.ndarray, "K"]


class Judged(NamedTuple):
    """Task → what each of its queries scored, and chance; NDCG@10 of each item's query against the
    share p of images in the pool, whose mean over p is its score: every share counts alike."""

    scores: dict[str, Scores]
    curve: Float[np.ndarray, "I P"]


@dataclasses.dataclass(frozen=True)
class Judge:
    """Rows that occur more than once are one candidate, and pairs that share one are one item."""

    label: Int[np.ndarray, "J"]  # Pairs of one label answer each other.
    image: Int[np.ndarray, "U"]  # One place of each distinct row.
    text: Int[np.ndarray, "W"]
    item: Int[np.ndarray, "I"]  # One pair of each label: what is in the mixed pool.
    asked: bool  # Whether there are queries; else the items' texts ask.
    classes: Classes | None

    def judged(self, rows: Embedded) -> Judged:
        """In every task."""
        image, text = rows.image[self.image], rows.text[self.text]
        of_image, of_text = self.label[self.image], self.label[self.text]
        searched = self.searched(rows)
        found = {
            "image_to_text": reciprocal_ranks(image, text, of_image, of_text),
            "text_to_image": reciprocal_ranks(text, image, of_text, of_image),
            **searched.scores,
        }
        if self.classes is not None:
            found |= self._by_class(rows, self.classes)
        return Judged(found, searched.curve)

    def searched(self, rows: Embedded) -> Judged:
        """In mixed search alone, whose rows need not be of length 1: products count. Where texts
        ask, the item that is right stands as image, or its text would find itself."""
        image, text, query = (x[self.item] for x in (rows.image, rows.text, rows.query))
        right = Right.own(len(self.item))
        curve = search.ndcg(chunks_of(image, text), query, right, None if self.asked else 1.0)
        chance = search.chances(len(self.item), right)[search.NDCG]
        scores = Scores(curve.mean(axis=1), self.label[self.item], chance)
        return Judged({SEARCH: scores}, curve)

    def _by_class(self, rows: Embedded, classes: Classes) -> dict[str, Scores]:
        names, named = np.unique(classes.named, return_inverse=True)
        texts = [rows.class_text[named == number] for number in range(len(names))]
        known = self.image[np.isin(classes.judged[self.image], names)]
        own = np.searchsorted(names, classes.judged[known])
        of_classes = zero_shot.class_embeddings(texts)
        accuracy = zero_shot.scores(rows.image[known], of_classes, own, self.label[known])
        pool = np.concatenate([rows.image[self.image], rows.text[self.text]])
        places = np.concatenate([self.image, self.text])
        pooled = intra_modal.scores(pool, classes.judged[places], self.label[places], ks=())
        return {"nearest_class": accuracy["acc1"], "class_in_pool": pooled["map"]}
