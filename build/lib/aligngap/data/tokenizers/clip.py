"""CLIP's own vocabulary (Radford et al. 2021), out of a pinned package that ships its merges."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from aligngap import progress
from aligngap.config import CLIP_VOCABULARY
from aligngap.data import fetch
from aligngap.data.corpus import Licence
from aligngap.data.tokenizers import bpe
from aligngap.data.tokenizers.bpe import Bpe
from aligngap.errors import AligngapError

WHEEL = fetch.WheelPin(  # Ships the merges; nothing of it is installed or run.
    name="open_clip_torch",
    version="3.3.0",
    sha256="c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
)
MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
MERGES = 48_894  # Of the 262,144 in the file: 49,408 tokens less 2 · 256 bytes, start and end.
LICENCE = Licence(
    source=WHEEL.name,
    version=WHEEL.version,
    licence="MIT",
    package=f"PyPI {WHEEL.name}",
    provides="the merges of CLIP's vocabulary (Radford et al. 2021)",
)


class ClipFast(Bpe):
    """CLIP's tokens, captions as they are."""

    size = CLIP_VOCABULARY
    licences = (LICENCE,)

    @classmethod
    def prepare(cls, data_dir: Path) -> None:
        """Errors as `fetch.wheel`."""
        path = fetch.wheel(WHEEL, fetch.downloads(data_dir))
        tokens = bpe.backend_of(_merges(path)).get_vocab_size()
        progress.say(f"CLIP's tokenizer ({tokens:,} tokens) is in {path}")

    @classmethod
    def make(cls, captions: Iterable[str], vocab_size: int, data_dir: Path) -> Self:
        """Out of what `prepare` fetched; AligngapError where that is missing."""
        downloads = fetch.downloads(data_dir)
        if not any(downloads.glob(WHEEL.pattern)):
            raise AligngapError(
                f"CLIP's tokenizer is missing in {data_dir}: "
                f"run `aligngap prepare --tokenizer=clip --data_dir={data_dir}`"
            )
        return cls(bpe.backend_of(_merges(fetch.wheel(WHEEL, downloads))))


class Clip(ClipFast):
    """CLIP's tokens, captions cleaned first."""

    cleans = True


def _merges(wheel: Path) -> list[tuple[str, str]]:
    """The first merges of the file, after its version line, as CLIP takes them."""
    lines = gzip.decompress(fetch.read_member(wheel, MEMBER)).decode("utf-8").split("\n")
    pairs = [line.split() for line in lines[1 : 1 + MERGES]]
    return [(left, right) for left, right in pairs]
