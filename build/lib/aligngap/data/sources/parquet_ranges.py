"""Ranges of remote parquet files: the footer, or one row group, as files that hold nothing else."""

import mmap
from typing import Any

import pyarrow as pa

from aligngap.data import store

TAIL = 2**18  # Bytes at the end of a file, which most footers fit into.
WORD = 8  # The last bytes: the footer's length, and what says that it is parquet.


def remote_footer(shard: str) -> Any:
    """For a reader of the metadata alone."""
    size = store.size(shard)
    tail = min(size, TAIL)
    content = store.read(shard, size - tail, tail)
    needed = int.from_bytes(content[-WORD : -WORD // 2], "little") + WORD
    if tail < needed <= size:
        content = store.read(shard, size - needed, needed)
    return _holding(size, size - len(content), content)


def remote_group(shard: str, metadata: Any, group: int) -> Any:
    """For a reader of that row group, whose columns lie one after the other: one request."""
    about = metadata.row_group(group)
    columns = [about.column(number) for number in range(about.num_columns)]
    starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
    ends = [a + column.total_compressed_size for a, column in zip(starts, columns, strict=True)]
    start, end = min(starts), max(ends)
    return _holding(end + WORD, start, store.read(shard, start, end - start))


def _holding(size: int, start: int, content: bytes) -> Any:
    """A file of that size; pages of memory that nobody wrote to take none."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[start : start + len(content)] = content
    return pa.BufferReader(memory)
