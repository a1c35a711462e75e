"""Run by a test: a corpus whose index is made as large as asked, and what reading it costs.

    python in_scale.py DATA_DIR NAME RECORDS IMAGES

DATA_DIR/NAME is a prepared corpus; RECORDS places of its own stand in the index over and over.
Prints JSON: seconds to open it and to the first batch, MiB of anonymous memory after some images.
"""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from aligngap.config import default, tower
from aligngap.data import corpora, pipeline
from aligngap.data.sources import index
from aligngap.data.tokenizers import bpe

BATCH = 250


def enlarge(folder: Path, records: int) -> None:
    about = json.loads((folder / "corpus.json").read_text())
    path = index.path(folder, "train")
    own = np.fromfile(path, index.RECORD)
    about["splits"]["train"]["records"] = records
    with path.open("wb") as file:
        for start in range(0, records, len(own) * 1000):
            tiled = np.tile(own, 1000)[: records - start]
            file.write(tiled.tobytes())
    (folder / "corpus.json").write_text(json.dumps(about))


def anonymous() -> float:
    """MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024


def main() -> None:
    data, name, records, count = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    enlarge(data / name, records)
    config = default()
    config.data.corpus, config.data.data_dir, config.batch_size = name, str(data), BATCH
    config.model.image.update(tower(32, 1, 2, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 4.0), context_length=12, vocab_size=520)
    vocabulary = bpe.train(["a small vocabulary of some words"], 520)
    start = time.perf_counter()
    source = corpora.open_train(config)
    assert len(source) == records
    opened = time.perf_counter() - start
    stream = pipeline.batches(config, source, vocabulary, first=records // BATCH - 1)
    next(stream)
    first, memory = time.perf_counter() - start, [anonymous()]
    for number in range(1, count // BATCH):
        next(stream)
        if number % max(1, count // BATCH // 10) == 0:
            memory.append(anonymous())
    print(json.dumps({"opened": opened, "first": first, "memory": memory}))


if __name__ == "__main__":
    main()
