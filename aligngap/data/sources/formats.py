"""The formats of a user's files: examined once, and then read at random."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from aligngap.data import store
from aligngap.data.sources.columnar import Arrow, Parquet
from aligngap.data.sources.kept import Kept
from aligngap.data.sources.lines import Lines
from aligngap.data.sources.raw import LeftOut, Place, Raw, Settings
from aligngap.data.sources.tar import Tar


class Format(Protocol):
    """How records lie in shards, which are files."""

    by_parts: bool  # A part is read as a whole, whichever of its records is asked for.

    def parts(self, shard: str) -> int:
        """How many pieces of a shard are examined apart from each other; a remote one is not
        fetched for it."""
        ...

    def places(self, shard: str, part: int) -> Iterator[Place | LeftOut]:
        """The records of a part in order, and what of it is none; the shard is on this machine,
        unless it is read by parts."""
        ...

    def read(self, shard: str, place: Place) -> Raw:
        """What stands at a place; LeftOut where it is no record, AligngapError where it is gone."""
        ...

    def captions(self, shard: str, place: Place) -> Sequence[str]:
        """Those of `read`; an image that is a file of its own is not opened for them."""
        ...


def of(
    settings: Settings,
    read: Callable[[str, int, int], bytes] = store.read,
    groups: Kept[Any] | None = None,
) -> Format:
    """The format that settings name; `read` brings the bytes of a place in a shard, `groups` row
    groups of parquet (columnar.kept)."""
    if settings.format == "lines":
        return Lines(settings.columns, settings.images)
    if settings.format == "tar":
        return Tar(settings.columns, read)
    if settings.format == "parquet":
        return Parquet(settings.columns, groups)
    return Arrow(settings.columns)
