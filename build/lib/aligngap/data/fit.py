"""What of a config does not fit the corpora that it is to train on: said once, as a run begins."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from aligngap.data import mixture, records, store
from aligngap.data.records import Source
from aligngap.data.tokenizers.tokenizer import Tokenizer

LOOKED_AT = 200  # Records of each corpus, evenly spread.
MANY = 0.1  # Of the captions: so many cut off are worth a line.


def misfits(config: ConfigDict, source: Source, tokenizer: Tokenizer) -> Iterator[str]:
    """A sentence each, with what to change."""
    shares = mixture.shares(config.data.corpus)
    whole = sum(share.weight for share in shares)
    for share, part in zip(shares, mixture.parts_of(source), strict=True):
        rows = round(config.batch_size * share.weight / whole)
        yield from _repeated(config, share.name, rows, part)
        yield from _cut_off(config, share.name, part, tokenizer)


def _repeated(config: ConfigDict, name: str, rows: int, source: Source) -> Iterator[str]:
    if rows > len(source) and config.objective.mask_duplicates == "none":
        yield (
            f"a batch has {rows:,} pairs of {name}, which has {len(source):,} to train on, so that "
            f"pairs are negatives of themselves: give batch_size={len(source)} or less, or "
            "objective.mask_duplicates=group"
        )


def _cut_off(config: ConfigDict, name: str, source: Source, tokenizer: Tokenizer) -> Iterator[str]:
    length = config.model.text.context_length
    read = partial(records.tried, partial(records.captions_of, source))
    with ThreadPoolExecutor(store.READERS) as pool:  # Each may be a request to a store.
        found = list(pool.map(read, records.spread(source, LOOKED_AT)))
    texts = [text for captions in found for text in captions or ()]
    if not texts:  # Whoever reads the corpus says why.
        return
    # One token more shows something else only of a text that goes on.
    longer = tokenizer.encode(texts, length + 1)
    cut = np.mean((longer[:, :length] != tokenizer.encode(texts, length)).any(axis=1))
    if cut > MANY:
        yield (
            f"{cut:.0%} of the captions of {name} have more than the {length} tokens of "
            "model.text.context_length: the rest of each is not seen"
        )
