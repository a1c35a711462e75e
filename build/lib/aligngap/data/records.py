"""What every corpus gives, and what every step takes: one record, one batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from aligngap.errors import AligngapError, StoreError

T = TypeVar("T")

GROUPS = 2**31  # A record's group is below: an int32 in a batch.
SEMANTICS = 384  # Dimensions of all-MiniLM-L6-v2's sentence embeddings.
READ_AHEAD = 128  # Records of far shards, for who reads them in order.
VOCABULARY = 2**20  # Records that a tokenizer learns from.
Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Record:
    """One image and what is said of it."""

    image: bytes  # Encoded: PNG, JPEG, WebP, ...
    captions: tuple[str, ...]  # At least one; each of them alone says what the image shows.
    keywords: tuple[str, ...] = ()  # That may follow a caption, or stand in for one.
    # Records of one group are no negatives of each other. Unique in its corpus, from 0 on; None:
    # each record is a group of its own, and its row in the split is the number.
    group: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)  # Kind → class of that kind.
    # L2-normalised: one vector for whichever caption is sampled, or one a caption. None: no corpus
    # knows, and a loss that re-scales by semantics needs the user's own (`data.semantics`).
    semantics: Float[np.ndarray, "S"] | Float[np.ndarray, "K S"] | None = None
    name: str = ""  # Stands in the ids of embeddings: what the corpus calls it.

    def __post_init__(self) -> None:
        if not self.captions:
            raise AligngapError(f"record {self.name or '?'} has no caption")


class Source(Protocol):
    """The records of a split, at random; picklable, for worker processes.

    It may also have `captions(row) -> tuple[str, ...]`, where these cost less than the record;
    `blocks(size)`, which rows lie together: the first of each block of about so many, and N;
    `by_blocks`, whether such neighbours are better read one after the other; and
    `in_blocks(size, most) -> Source`, which reads a block at once and holds the latest `most`.
    """

    @property
    def version(self) -> str:
        """Another text whenever the records are others."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Record: ...


def captions_of(source: Source, row: int) -> tuple[str, ...]:
    """A record's captions, without the rest of it where the source can."""
    own = getattr(source, "captions", None)
    found: tuple[str, ...] = own(row) if own else source[row].captions
    return found


def blocks_of(source: Source, size: int) -> np.ndarray | None:
    """Where the source's own blocks begin, and its length; None where it has none."""
    own = getattr(source, "blocks", None)
    found: np.ndarray | None = own(size) if own else None
    return found


def by_blocks(source: Source) -> bool:
    """Whether the source is better read in blocks."""
    return bool(getattr(source, "by_blocks", False))


def in_blocks(source: Source, size: int, most: int) -> Source:
    """The same records, read in blocks where that saves requests; `most` blocks are held."""
    own = getattr(source, "in_blocks", None)
    found: Source = own(size, most) if own else source
    return found


@dataclass(frozen=True)
class Over:
    """Another source's records, each with something of its own: as many, in the same blocks."""

    source: "Source"

    def __len__(self) -> int:
        return len(self.source)

    @property
    def by_blocks(self) -> bool:
        return by_blocks(self.source)

    def blocks(self, size: int) -> np.ndarray | None:
        return blocks_of(self.source, size)

    def in_blocks(self, size: int, most: int) -> Self:
        return replace(self, source=in_blocks(self.source, size, most))


def in_order(source: Source) -> Source:
    """The same records, for whoever reads them one after the other."""
    return in_blocks(source, READ_AHEAD, 2)


def group_of(record: Record, row: int) -> int:
    """The record's group; AligngapError for one that a batch cannot hold."""
    group = row if record.group is None else record.group
    if not 0 <= group < GROUPS:
        raise AligngapError(f"record {record.name or row}: group {group} is not in [0, 2³¹)")
    return group


def caption(record: Record, max_keywords: int, which: int = 0) -> str:
    """A caption as evaluation uses it, with its first keywords: "dog, pet, animal"."""
    return ", ".join([record.captions[which], *record.keywords[:max_keywords]])


def sample_caption(record: Record, data: ConfigDict, rng: np.random.Generator) -> tuple[str, int]:
    """(a caption to train on, which of the record's it is): with chance `name_share` one of the
    captions, then some of the keywords.

    Without captions now and then, keywords too must be told apart: all that a new thing has.
    """
    texts, keywords = record.captions, record.keywords
    named = not (keywords and data.max_keywords) or rng.random() < data.name_share
    count = min(int(rng.integers(0 if named else 1, data.max_keywords + 1)), len(keywords))
    chosen = [keywords[i] for i in rng.choice(len(keywords), count, replace=False)] if count else []
    if not named:
        return ", ".join(chosen), 0
    which = 0 if data.first_caption else int(rng.integers(len(texts)))
    return ", ".join([texts[which], *chosen]), which


class Shaped(NamedTuple):
    """What an array of a batch is like; worker processes know no jax.ShapeDtypeStruct."""

    shape: tuple[int, ...]
    dtype: type[np.generic]


def batch_shapes(config: ConfigDict, semantics: int = SEMANTICS) -> dict[str, Shaped]:
    """The arrays of a batch: the only place that says their names, shapes and dtypes.

    image uint8 [B, R, R, 3], text int32 [B, L], group int32 [B] (equal where pairs are no negatives
    of each other), and, unless `semantics` is 0, semantics float32 [B, S] (L2-normalised); where
    the step embeds captions, in its place sentence int32 [B, M], the tokens of their encoder.
    """
    rows, side = config.batch_size, config.model.image.size
    shapes = {
        "image": Shaped((rows, side, side, 3), np.uint8),
        "text": Shaped((rows, config.model.text.context_length), np.int32),
        "semantics": Shaped((rows, semantics), np.float32),
        "group": Shaped((rows,), np.int32),
    }
    if embeds_in_step(config):
        tokens = (rows, config.data.semantics_tokens)
        shapes["sentence"] = Shaped(tokens, np.int32)
        semantics = 0
    return {name: x for name, x in shapes.items() if name != "semantics" or semantics}


def rescales(config: ConfigDict) -> bool:
    """Whether the objective reads what captions mean."""
    objective = config.objective
    weighed = objective.separation_weight and objective.separated
    return bool(weighed and objective.semantic_rescaling)


def embeds_in_step(config: ConfigDict) -> bool:
    """Whether a batch has the tokens of captions in place of their semantics."""
    return rescales(config) and config.data.semantics_from == "step"


def row(shapes: Mapping[str, Shaped], given: Mapping[str, object]) -> Batch:
    """One row of a batch with the dtypes of `batch_shapes`; AligngapError for another shape."""
    found: Batch = {}
    for name, wanted in shapes.items():
        if name not in given:
            continue
        found[name] = np.asarray(given[name], wanted.dtype)
        if name != "semantics" and found[name].shape != wanted.shape[1:]:
            raise AligngapError(f"{name} is {found[name].shape}, expected {wanted.shape[1:]}")
    return found


def texts_of(source: Source) -> "Sequence[str]":
    """Every caption and keyword of a split, in order: what a vocabulary is learnt from. Of a split
    with more than VOCABULARY records, those of so many, evenly spread."""
    rows = range(0, len(source), max(1, len(source) // VOCABULARY))
    found = readable(in_order(source), rows)
    return [text for _, record in found for text in (*record.captions, *record.keywords)]


def readable(source: Source, rows: Iterable[int]) -> Iterator[tuple[int, Record]]:
    """(row, record) of those that can be read: one that is damaged ends nothing here, as it ends
    no training, which replaces and counts it."""
    for row in rows:
        if (record := tried(source.__getitem__, row)) is not None:
            yield row, record


def tried(read: Callable[[int], T], row: int) -> T | None:
    """What is read of a row; None where its record is damaged. StoreError: the place of all records
    fails, which is no damage to one."""
    try:
        return read(row)
    except StoreError:
        raise
    except AligngapError:
        return None


def spread(source: Source, count: int) -> list[int]:
    """At most so many rows, evenly over all of them."""
    rows: list[int] = np.unique(np.linspace(0, len(source) - 1, count).astype(int)).tolist()
    return rows
