"""One pass over the items of a mixed pool, a chunk at a time: how each stands to the right ones."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from aligngap.errors import AligngapError
from aligngap.tasks.first_places import Best
from aligngap.tasks.mixed_copies import Copies
from aligngap.tasks.mixed_ranks import AHEAD, BEHIND, STANDINGS, TIED, standing
from aligngap.tasks.standings import TIE
from aligngap.unit import SMALLEST

SCORES_AT_ONCE = 2**19  # elements of the largest arrays held: 4 MiB, which a core's cache has

# Images and texts [n, D] of the next items, L2-normalised; called for each pass over the pool. An
# item without one of the two has the other in its place.
Chunk = tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]]
Chunks = Callable[[], Iterable[Chunk]]


@dataclasses.dataclass(frozen=True)
class Right:
    """What is right for queries: R pairs of a query and an item, by query, with grades above 0; of
    all N items numbers of the image and of the text, equal ones for equal rows (without: none are).
    """

    query: Int[np.ndarray, "R"]
    item: Int[np.ndarray, "R"]
    grade: Float[np.ndarray, "R"]
    rows: Int[np.ndarray, "N 2"] | None = None

    @classmethod
    def own(cls, count: int) -> "Right":
        """Query i has item i alone."""
        return cls(np.arange(count), np.arange(count), np.ones(count))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a pass has seen. Of the R right documents as image and as text, and fused by each of A
    weights, how many items stand how; of each query its L best renderings of each modality."""

    items: int
    others: Int[np.ndarray, "R 2 9"]  # That are not right for the query.
    right: Int[np.ndarray, "R 2 9"]  # That are right, too.
    fused_others: Int[np.ndarray, "R A 9"]
    fused_right: Int[np.ndarray, "R A 9"]
    best_items: Int[np.ndarray, "Q 2 L"]
    best_scores: Float[np.ndarray, "Q 2 L"]
    all_tied: Int[np.ndarray, "R 9"] | None  # `others` of a random order, where there are copies.


def chunks_of(
    image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "N D"], rows: int = 4096
) -> Chunks:
    """Those of arrays in memory."""

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(image), rows):
            yield image[start : start + rows], text[start : start + rows]

    return chunks


def scan(
    chunks: Chunks,
    queries: Float[np.ndarray, "Q D"],
    right: Right,
    weights: Float[np.ndarray, "A"],
    depth: int,
) -> Seen:
    """Two passes: of the right documents' rows, then of all. `weights` of the text in fused ones;
    `depth`: L. AligngapError for a row that is not finite."""
    queries = np.asarray(queries, np.float64)
    _check(queries, "query", 0)
    items, own = _wanted(chunks(), right.item)
    bars = _bars(queries[right.query], own, weights)
    counts = np.zeros((*bars.shape, STANDINGS), np.int64)
    best = Best(len(queries), min(depth, items))
    copies = Copies(right.query, right.item, right.rows)
    start = 0
    for chunk in chunks():
        image, text = (np.asarray(rows, np.float64) for rows in chunk)
        _check(image, "image", start)
        _check(text, "text", start)
        lengths = _lengths(image, text, weights)
        for some, pairs in _blocks(right.query, len(queries), len(image)):
            scores = np.stack([queries[some] @ image.T, queries[some] @ text.T])
            best.add(some, start, scores)
            rows = right.query[pairs] - some.start
            one_each = np.array_equal(rows, np.arange(scores.shape[1]))
            images, texts = scores if one_each else scores[:, rows]
            out = copies.at(some, pairs, start, len(image))
            _count(counts[pairs], images, texts, bars[pairs], weights, lengths, out)
        start += len(image)
    rivals = _rivals(right.query, bars)
    counts -= rivals + _itself(bars)
    mixed, fused = slice(0, 2), slice(2, None)
    return Seen(
        items,
        counts[:, mixed],
        rivals[:, mixed],
        counts[:, fused],
        rivals[:, fused],
        best.items,
        best.scores,
        copies.all_tied(items),
    )


def _wanted(chunks: Iterable[Chunk], items: Int[np.ndarray, "R"]) -> tuple[int, list[np.ndarray]]:
    """(how many items there are, the image and the text [R, D] of each of these)."""
    order = np.argsort(items, kind="stable")
    ordered, start = items[order], 0
    found: list[list[np.ndarray]] = [[], []]
    for chunk in chunks:
        first, last = np.searchsorted(ordered, [start, start + len(chunk[0])])
        for rows, kept in zip(chunk, found, strict=True):
            kept.append(np.asarray(rows[ordered[first:last] - start], np.float64))
        start += len(chunk[0])
    back = np.argsort(order)
    return start, [np.concatenate(kept)[back] for kept in found]


def _bars(
    queries: Float[np.ndarray, "R D"], own: list[np.ndarray], weights: Float[np.ndarray, "A"]
) -> Float[np.ndarray, "R 2+A"]:
    """The scores of the right documents: as image, as text, fused by each weight."""
    image, text = (np.einsum("rd,rd->r", queries, rows)[:, None] for rows in own)
    fused = (weights * text + (1 - weights) * image) / _lengths(own[0], own[1], weights).T
    return np.concatenate([image, text, fused], axis=1)


def _lengths(
    image: Float[np.ndarray, "n D"], text: Float[np.ndarray, "n D"], weights: Float[np.ndarray, "A"]
) -> Float[np.ndarray, "A n"]:
    """‖α · text + (1 − α) · image‖ for each weight α."""
    found = [np.linalg.norm(a * text + (1 - a) * image, axis=1) for a in weights]
    return np.maximum(np.reshape(found, (len(weights), len(image))), SMALLEST)


def _blocks(of: Int[np.ndarray, "R"], queries: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Some queries, and their pairs; few enough pairs for the memory."""
    ends = np.searchsorted(of, np.arange(queries + 1))
    most, first = max(1, SCORES_AT_ONCE // columns), 0
    while first < queries:
        last = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
        last = min(max(last, first + 1), first + most, queries)
        yield slice(first, last), slice(int(ends[first]), int(ends[last]))
        first = last


def _count(
    counts: Int[np.ndarray, "r 2+A 9"],
    image: Float[np.ndarray, "r n"],
    text: Float[np.ndarray, "r n"],
    bars: Float[np.ndarray, "r 2+A"],
    weights: Float[np.ndarray, "A"],
    lengths: Float[np.ndarray, "A n"],
    out: Bool[np.ndarray, "2 r n"] | None,
) -> None:
    """Adds how a chunk's items stand to the right documents; those that are `out` stay behind."""
    columns = image.shape[1]
    stands = (image, text) if out is None else np.where(out, -np.inf, (image, text))
    for modality in (0, 1):
        bar = bars[:, modality, None]
        images, texts = (_reached(scores, bar) for scores in stands)
        # How many items reach at least these standings, from which those of each pair follow.
        least = np.full((len(bars), 3, 3), columns)
        for each in (TIED, AHEAD):
            least[:, each, 0], least[:, 0, each] = _size(images[each]), _size(texts[each])
            for other in (TIED, AHEAD):
                least[:, each, other] = _size(images[each] & texts[other])
        exactly = least.copy()
        exactly[:, :2] -= least[:, 1:]
        exactly[:, :, :2] -= exactly[:, :, 1:]
        counts[:, modality] += exactly.reshape(-1, STANDINGS)
    for place, weight in enumerate(weights):
        fused = text * (weight / lengths[place])
        fused += image * ((1 - weight) / lengths[place])
        if out is not None and weight in (0, 1):  # The image or the text itself.
            fused[out[int(weight)]] = -np.inf
        reached = _reached(fused, bars[:, 2 + place, None])
        tied, ahead = _size(reached[TIED]), _size(reached[AHEAD])
        for each, size in ((BEHIND, columns - tied), (TIED, tied - ahead), (AHEAD, ahead)):
            counts[:, 2 + place, standing(each, each)] += size


def _reached(
    scores: Float[np.ndarray, "r n"], bar: Float[np.ndarray, "r 1"]
) -> dict[int, np.ndarray]:
    """Which scores are at least tied, and which ahead: a bit each."""
    return {
        each: np.packbits(scores > bar + by, axis=1) for each, by in ((TIED, -TIE), (AHEAD, TIE))
    }


def _size(bits: np.ndarray) -> Int[np.ndarray, "r"]:
    found: np.ndarray = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return found


def _stands(scores: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """The standing of scores to bars."""
    return (scores > bars - TIE).astype(int) + (scores > bars + TIE)


def _itself(bars: Float[np.ndarray, "R 2+A"]) -> Int[np.ndarray, "R 2+A 9"]:
    """How each right item stands to itself, which `_count` has counted."""
    return _one_each(bars, bars)


def _rivals(of: Int[np.ndarray, "R"], bars: Float[np.ndarray, "R 2+A"]) -> np.ndarray:
    """How the other right items of its query stand to each right document [R, 2 + A, 9]."""
    first, last = np.searchsorted(of, of), np.searchsorted(of, of, side="right")
    counts = np.zeros((*bars.shape, STANDINGS), np.int64)
    for step in range(1, int((last - first).max(initial=1))):
        # Each with the one that comes so many after it, and the other way round.
        rows = np.flatnonzero(np.arange(len(of)) + step < last)
        counts[rows] += _one_each(bars[rows + step], bars[rows])
        counts[rows + step] += _one_each(bars[rows], bars[rows + step])
    return counts


def _one_each(scores: np.ndarray, bars: np.ndarray) -> Int[np.ndarray, "r 2+A 9"]:
    """The counts of one item for each row: its scores as image, as text, fused."""
    image = np.concatenate([np.repeat(scores[:, :1], 2, axis=1), scores[:, 2:]], axis=1)
    text = np.concatenate([np.repeat(scores[:, 1:2], 2, axis=1), scores[:, 2:]], axis=1)
    which = standing(_stands(image, bars), _stands(text, bars))
    return (which[..., None] == np.arange(STANDINGS)).astype(np.int64)


def _check(rows: np.ndarray, what: str, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise AligngapError(f"{what} {start + bad[0]} is not finite: nothing to rank")
