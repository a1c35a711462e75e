"""Where an element of the stream lies."""

from typing import NamedTuple


class Place(NamedTuple):
    """A record: the number of its corpus among those trained on, and its row in the split."""

    corpus: int
    row: int
