"""The tokenizers by the config's `data.tokenizer`; anybody's own by its path.

trained    learnt from the training captions; captions are taken as they are.
clip       CLIP's 49,408 tokens, captions cleaned first: what open_clip and OpenAI's code do.
clip_fast  the same tokens without the cleaning: what transformers' CLIPTokenizerFast does.
siglip     sentencepieces that came with an imported model; none are learnt here.
"""

from collections.abc import Iterable, Iterator
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
    lacking = sorted(made.__abstractmethods__ | ({"file"} - {*dir(made)}))
    if lacking:
        raise UsageError(f"tokenizer {name!r} lacks {', '.join(lacking)}")
    return made


def name_of(tokenizer: Tokenizer) -> str:
    """What a config calls its class: `find`, the other way."""
    path = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"
    return next((name for name, known in TOKENIZERS.items() if known == path), path)


def fetched(name: str) -> type[Tokenizer]:
    """The class of a tokenizer that `aligngap prepare` fetches; UsageError for any other."""
    ours = [known for known in TOKENIZERS if find(known).licences]
    if name not in ours and "." not in name:
        raise UsageError(f"unknown tokenizer {name!r}: one of {', '.join(ours)}")
    return find(name)


def check(config: ConfigDict) -> None:
    """UsageError for an unknown tokenizer, and for a text tower that does not fit it."""
    name = config.data.tokenizer
    for problem in find(name).problems(name, config.model.text):
        raise UsageError(f"config: {problem}")


def make(config: ConfigDict, captions: Iterable[str]) -> Tokenizer:
    """The tokenizer of a run that starts; errors as `Tokenizer.make`.

    UsageError where the text tower has no embedding for its ids, or would not find its end.
    """
    name, text, folder = config.data.tokenizer, config.model.text, data_dir(config.data.data_dir)
    made = find(name).make(captions, text.vocab_size, folder)
    for problem in _misfits(made, text):
        raise UsageError(f"data.tokenizer={name} {problem}")
    return made


def held(config: ConfigDict, folder: Path) -> bool:
    """Whether a run's folder holds the tokenizer of its config: an import may have none."""
    return (folder / find(config.data.tokenizer).file).exists()


def reopen(config: ConfigDict, folder: Path) -> Tokenizer:
    """The tokenizer that a run's folder holds; errors as `Tokenizer.load`."""
    return find(config.data.tokenizer).load(folder)


def _misfits(tokenizer: Tokenizer, text: ConfigDict) -> Iterator[str]:
    """What of the config's `model.text` could not read these ids."""
    size, end = tokenizer.vocab_size, tokenizer.end_id
    if size > text.vocab_size:
        yield f"has {size} tokens: model.text.vocab_size={text.vocab_size} is too few"
    if text.pooling == "end_of_text" and end != size - 1:
        yield (
            f"ends a text with {end}, and model.text.pooling=end_of_text looks for the highest "
            f"id, {size - 1}: give last"
        )
