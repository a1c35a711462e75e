"""The tokenizers by the config's `data.tokenizer`; anybody's own by its path.

trained    learnt from the training captions; captions are taken as they are.
clip       CLIP's 49,408 tokens, captions cleaned first: what open_clip and OpenAI's code do.
clip_fast  the same tokens without the cleaning: what transformers' CLIPTokenizerFast does.
siglip     sentencepieces that came with an imported model; none are learnt here.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from aligngap import registry
from aligngap.config import data_dir
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import UsageError

TOKENIZERS = {
    "trained": "aligngap.data.tokenizers.bpe.Trained",
    "clip": "aligngap.data.tokenizers.clip.Clip",
    "clip_fast": "aligngap.data.tokenizers.clip.ClipFast",
    "siglip": "aligngap.data.tokenizers.siglip.Siglip",
}


def find(name: str) -> type[Tokenizer]:
    """The class of that name; UsageError for one that is unknown or no tokenizer."""
    made = registry.find(name, TOKENIZERS, "tokenizer")
    if not (isinstance(made, type) and issubclass(made, Tokenizer)):
        raise UsageError(f"tokenizer {name!r} derives from no Tokenizer of data/tokenizers")
    return made


def check(config: ConfigDict) -> None:
    """UsageError for an unknown tokenizer, and for a text tower that does not fit it."""
    name = config.data.tokenizer
    for problem in find(name).problems(name, config.model.text):
        raise UsageError(f"config: {problem}")


def make(config: ConfigDict, captions: Iterable[str]) -> Tokenizer:
    """The tokenizer of a run that starts; errors as `Tokenizer.make`."""
    folder = data_dir(config.data.data_dir)
    return find(config.data.tokenizer).make(captions, config.model.text.vocab_size, folder)


def held(config: ConfigDict, folder: Path) -> bool:
    """Whether a run's folder holds the tokenizer of its config: an import may have none."""
    return (folder / find(config.data.tokenizer).file).exists()


def reopen(config: ConfigDict, folder: Path) -> Tokenizer:
    """The tokenizer that a run's folder holds; errors as `Tokenizer.load`."""
    return find(config.data.tokenizer).load(folder)


def kind_of(tokenizer: Tokenizer | None, otherwise: str) -> str:
    """The name of a tokenizer's class in the table where that class is the only one of its form."""
    alike = [name for name in TOKENIZERS if tokenizer and find(name).file == tokenizer.file]
    return alike[0] if len(alike) == 1 else otherwise
