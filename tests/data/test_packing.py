"""Packed captions: every token stands once, nothing overlaps, and the shapes are few."""

import numpy as np
import pytest

from aligngap.data import corpora, packing, packing_plan, records, tokenizers
from aligngap.data.packing_plan import LOOKED_AT

END = 99  # The end-of-text: the largest id.


def captions(lengths, context):
    """int32 [N, context] of captions with so many tokens, padded with their end as CLIP does."""
    ids = np.full((len(lengths), context), END, np.int32)
    random = np.random.default_rng(0)
    for row, length in zip(ids, lengths, strict=True):
        row[: length - 1] = random.integers(1, END, length - 1)
    return ids


def unpacked(packed, group, caption):
    """(tokens, positions, slots) of a caption, in the order of its slots."""
    slots = np.flatnonzero(packed.segments[group].reshape(-1) == caption + 1)
    of = lambda array: array[group].reshape(-1)[slots]  # noqa: E731
    return of(packed.ids), of(packed.positions), slots


@pytest.mark.parametrize("seed", range(30))
def test_every_token_stands_once_and_in_order(seed):
    random = np.random.default_rng(seed)
    context, groups, count = (int(random.integers(*of)) for of in ((3, 90), (1, 5), (1, 80)))
    row = packing.row_length(context)
    lengths = random.integers(2, context + 1, (groups, count))
    ids = np.stack([captions(group, context) for group in lengths])
    np.testing.assert_array_equal(packing.lengths(ids), lengths)
    layouts = [packing.layout(group, row) for group in lengths]
    needed = max(layout.needed for layout in layouts)
    assert -(-lengths.sum(1).max() // row) <= needed <= count
    packed = packing.packed(ids, layouts, needed + int(random.integers(3)), row)
    for group in range(groups):
        assert (packed.segments[group] > 0).sum() == lengths[group].sum()
        for caption, length in enumerate(lengths[group]):
            tokens, positions, slots = unpacked(packed, group, caption)
            np.testing.assert_array_equal(tokens, ids[group, caption, :length])
            np.testing.assert_array_equal(positions, np.arange(length))
            np.testing.assert_array_equal(slots, slots[0] + np.arange(length))
            assert slots[0] // row == slots[-1] // row  # A caption never goes on in another row.
            assert packed.ends[group, caption] == slots[-1]
    assert not packed.ids[packed.segments == 0].any()


def test_best_fit_leaves_no_room_that_a_caption_would_fill():
    """10 rows that two captions each fill, whatever their order."""
    lengths = np.random.default_rng(0).permutation([20] * 10 + [12] * 10)
    assert packing.layout(lengths, 32).needed == 10


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_group_is_what_a_device_holds_of_a_part(parts):
    """As microbatches split a batch of 2 devices: every so many-th of a device's rows."""
    ids = np.arange(16)[:, None] * np.ones((1, 3), int)
    found = packing.grouped(ids, 8 // parts, parts)[:, :, 0]
    wanted = [np.arange(d * 8 + p, d * 8 + 8, parts) for d in range(2) for p in range(parts)]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.corpus
def test_shapes_of_the_pictograms_captions(small):
    """At most four, the last for any captions, the first for nearly all that are sampled."""
    source = corpora.open_train(small)
    tokenizer = tokenizers.make(small, records.texts_of(source))
    small.batch_size, small.data.max_keywords = 256, 3
    counts = packing_plan.counts(small, source, tokenizer, groups=2)
    assert len(counts) <= 4 and list(counts) == sorted({*counts}) and counts[-1] == 128
    plan = packing_plan.make(small, 2, counts)
    assert plan.fitting(counts[0]) == counts[0] and plan.fitting(counts[0] + 1) == counts[1]
    random = np.random.default_rng(1)
    rows = random.integers(len(source), size=(50, 128))
    sampled = [
        [records.sample_caption(source[int(row)], small.data, random)[0] for row in group]
        for group in rows
    ]
    ids = np.stack([tokenizer.encode(group, 12) for group in sampled])
    needs = [packing.layout(group, plan.row).needed for group in packing.lengths(ids)]
    assert max(needs) <= counts[0] < 1.3 * np.mean(needs)
    assert counts == packing_plan.counts(small, source, tokenizer, groups=2)
    assert len(source) >= LOOKED_AT


def test_shapes_where_captions_are_all_of_one_length_or_all_full():
    assert packing_plan.ladder(np.full(8, 10), 64) == (10, 12, 28, 64)
    assert packing_plan.ladder(np.full(8, 64), 64) == (64,)
    assert packing_plan.ladder(np.array([1]), 1) == (1,)
