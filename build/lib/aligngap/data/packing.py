"""Sequence packing: several captions share a row of tokens, so that short ones need no padding.

A group is what one device holds of one microbatch. Its captions fill rows of its own: nothing of
them is ever needed elsewhere. Shapes: G groups, N captions a group, L tokens a caption at most,
R rows a group, P tokens a row, S = R·P slots.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int

SHORTEST_ROW = 32  # Tokens: the shorter the rows, the more of them stays empty.
PREFIX = "packed_"  # Of the names that a batch has for the fields of PackedText.

T = TypeVar("T")


class PackedText(NamedTuple, Generic[T]):
    """The captions of all groups, token by token: arrays of int32 of the host or of devices."""

    ids: T  # [G, R, P]; 0 where no caption is.
    positions: T  # [G, R, P]; of each token in its caption.
    segments: T  # [G, R, P]; the number of its caption in the group, from 1 on. 0: none.
    ends: T  # [G, N]; the slot in [0, S) of each caption's end-of-text.


class Layout(NamedTuple):
    """Where the captions of a group stand: each in its row from its start on."""

    rows: Int[np.ndarray, "N"]
    starts: Int[np.ndarray, "N"]
    lengths: Int[np.ndarray, "N"]
    needed: int  # R.


def row_length(context_length: int) -> int:
    """P for captions of at most L tokens: a multiple of 8, since cuDNN's attention takes no odd
    one under a mask, and a CPU is a sixth faster with 80 than with 78."""
    return max(-(-context_length // 8) * 8, SHORTEST_ROW)


def grouped(ids: Int[np.ndarray, "B L"], size: int, parts: int) -> Int[np.ndarray, "G N L"]:
    """A process's captions, `size` a group, of devices that each have `parts` microbatches.

    The first axis is the devices', then the parts': every `parts`-th caption of a device is of one
    part, as microbatches split a batch.
    """
    by_device = ids.reshape(-1, size, parts, ids.shape[-1])
    return by_device.swapaxes(1, 2).reshape(-1, size, ids.shape[-1])


def lengths(ids: Int[np.ndarray, "... L"]) -> Int[np.ndarray, "..."]:
    """Tokens of each caption up to the first end-of-text, which has the largest id."""
    return ids.argmax(axis=-1) + 1


def layout(lengths: Int[np.ndarray, "N"], row: int) -> Layout:
    """Best fit, the longest first: each caption goes where the least room is left over."""
    rows, starts = np.empty_like(lengths), np.empty_like(lengths)
    of_room: list[list[int]] = [[] for _ in range(row + 1)]  # Rows by the room that is left.
    some = count = 0  # Bit i of `some`: there is a row with room i.
    for caption in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[caption])
        if enough := some >> length:
            room = length + (enough & -enough).bit_length() - 1
            chosen = of_room[room].pop()
            if not of_room[room]:
                some -= 1 << room
        else:
            room, chosen, count = row, count, count + 1
        rows[caption], starts[caption] = chosen, row - room
        of_room[room - length].append(chosen)
        some |= 1 << (room - length)
    return Layout(rows, starts, lengths, count)


def packed(
    ids: Int[np.ndarray, "G N L"], layouts: Sequence[Layout], rows: int, row: int
) -> PackedText[np.ndarray]:
    """The captions in so many rows, at least as many as any layout needs."""
    groups, count, _ = ids.shape
    tokens = np.concatenate([x.lengths for x in layouts])
    of_group = [g * rows * row + x.rows * row + x.starts for g, x in enumerate(layouts)]
    firsts = np.concatenate(of_group)  # The slot of each caption's first token, in all groups.
    positions = np.arange(tokens.sum()) - np.repeat(np.cumsum(tokens) - tokens, tokens)
    slots = np.repeat(firsts, tokens) + positions
    captions = np.repeat(np.arange(groups * count), tokens)
    text = ids.reshape(groups * count, -1)[captions, positions]

    def filled(values: np.ndarray) -> np.ndarray:
        whole = np.zeros(groups * rows * row, np.int32)
        whole[slots] = values
        return whole.reshape(groups, rows, row)

    ends = (firsts + tokens - 1).reshape(groups, count) % (rows * row)
    segments = captions % count + 1
    return PackedText(filled(text), filled(positions), filled(segments), ends.astype(np.int32))


def named(packed: PackedText[T]) -> dict[str, T]:
    """The arrays as they stand in a batch."""
    return {PREFIX + name: array for name, array in packed._asdict().items()}


def of_batch(batch: Mapping[str, T]) -> PackedText[T] | None:
    """Those of a batch; None where its captions are not packed."""
    if PREFIX + "ids" not in batch:
        return None
    return PackedText(*(batch[PREFIX + name] for name in PackedText._fields))
