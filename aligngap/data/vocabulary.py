"""The tokenizer of a run, by the config's `data.tokenizer`.

trained    learnt from the training captions; captions are taken as they are.
clip       CLIP's 49,408 tokens, captions cleaned first: what open_clip and OpenAI's code do.
clip_fast  the same tokens without the cleaning: what transformers' CLIPTokenizerFast does.
siglip     sentencepieces that came with an imported model; none are learnt here.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from aligngap import progress
from aligngap.config import data_dir
from aligngap.data import corpora, fetch, sentencepieces, tokenizer
from aligngap.data.sentencepieces import Sentencepieces
from aligngap.data.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError

AnyTokenizer = Tokenizer | Sentencepieces
CLEANED = ("clip",)
WHEEL = fetch.WheelPin(  # Ships the merges; nothing of it is installed or run.
    name="open_clip_torch",
    version="3.3.0",
    sha256="c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
)
MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
MERGES = 48_894  # Of the 262,144 in the file: 49,408 tokens less 2 · 256 bytes, start and end.
LICENCE = corpora.Licence(
    source=WHEEL.name,
    version=WHEEL.version,
    licence="MIT",
    package=f"PyPI {WHEEL.name}",
    provides="the merges of CLIP's vocabulary (Radford et al. 2021)",
)


def make(config: ConfigDict, captions: Iterable[str]) -> Tokenizer:
    """The tokenizer of a run that starts; only `trained` looks at the captions.

    AligngapError where CLIP's merges have not been prepared, and for `siglip`.
    """
    kind = config.data.tokenizer
    if kind == "siglip":
        raise AligngapError(
            "data.tokenizer=siglip comes with an imported model and cannot be learnt: "
            "give a run trained, clip or clip_fast"
        )
    if kind == "trained":
        return tokenizer.train(captions, config.model.text.vocab_size)
    return clip(data_dir(config.data.data_dir), clean=kind in CLEANED)


def held(config: ConfigDict, folder: Path) -> bool:
    """Whether a run's folder holds the tokenizer of its config: an import may have none."""
    siglip = config.data.tokenizer == "siglip"
    return (folder / (sentencepieces.FILE if siglip else tokenizer.FILE)).exists()


def reopen(config: ConfigDict, folder: Path) -> AnyTokenizer:
    """The tokenizer that a run's folder holds; errors as `load` of its room."""
    if config.data.tokenizer == "siglip":
        return sentencepieces.load(folder)
    return tokenizer.load(folder, clean=config.data.tokenizer in CLEANED)


def clip(data_dir: Path, *, clean: bool) -> Tokenizer:
    """CLIP's tokenizer out of what `prepare` fetched; AligngapError where that is missing."""
    downloads = corpora.downloads(data_dir)
    if not any(downloads.glob(WHEEL.pattern)):
        raise AligngapError(
            f"CLIP's tokenizer is missing in {data_dir}: "
            f"run `aligngap prepare --tokenizer=clip --data_dir={data_dir}`"
        )
    return tokenizer.from_merges(_merges(fetch.wheel(WHEEL, downloads)), clean=clean)


def prepare(name: str, data_dir: Path) -> None:
    """Fetches what `clip` reads, unless it is there; errors as `fetch.wheel`."""
    licences(name)
    path = fetch.wheel(WHEEL, corpora.downloads(data_dir))
    tokens = tokenizer.from_merges(_merges(path)).vocab_size
    progress.say(f"CLIP's tokenizer ({tokens:,} tokens) is in {path}")


def licences(name: str) -> list[corpora.Licence]:
    """What a tokenizer is made of; UsageError for an unknown one."""
    if name != "clip":
        raise UsageError(f"unknown tokenizer {name!r}: one of clip")
    return [LICENCE]


def _merges(wheel: Path) -> list[tuple[str, str]]:
    """The first merges of the file, after its version line, as CLIP takes them."""
    lines = gzip.decompress(fetch.read_member(wheel, MEMBER)).decode("utf-8").split("\n")
    pairs = [line.split() for line in lines[1 : 1 + MERGES]]
    return [(left, right) for left, right in pairs]
