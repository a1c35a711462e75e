"""Run by a test with .venv-s3's python, which knows s3://: digests of the batches of a corpus.

    python in_store.py DATA_DIR NAME JSON

JSON: the fields of `digests`. Prints JSON, a digest a batch.
"""

import hashlib
import json
import sys
from itertools import islice
from pathlib import Path

from aligngap.config import default, tower
from aligngap.data import corpora, pipeline
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError


def digests(data: Path, name: str, batches=4, first=0, rows=None, batch=24, **fields) -> list[str]:
    """SHA-256 of each of some batches, trained on with these fields of `config.data`."""
    config = default()
    config.data.update(corpus=name, data_dir=str(data), **fields)
    config.batch_size = batch
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=520)
    words = bpe.train(["a small vocabulary of some words"], 520)
    source = corpora.open_train(config)
    stream = pipeline.batches(config, source, words, first=first, rows=rows)
    return [digest(found) for found in islice(stream, batches)]


def digest(batch) -> str:
    content = hashlib.sha256()
    for name in sorted(batch):
        content.update(name.encode() + str(batch[name].shape).encode() + batch[name].tobytes())
    return content.hexdigest()


if __name__ == "__main__":
    try:
        print(json.dumps(digests(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))))
    except AligngapError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
