"""aligngap: its pipeline over the index of the shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aligngap.benchmarks.peers.job import Job, measure
from aligngap.data import corpora, pipeline
from aligngap.data.tokenizers.bpe import Trained
from aligngap.presets import preset


def batches(job: Job) -> Iterator[tuple[Any, Any]]:
    """As a training run reads them."""
    config = preset("clip")
    config.data.corpus, config.data.data_dir = "pairs", job.folder
    config.data.crop_scale, config.data.crop_ratio = job.scale, job.ratio
    config.data.workers = job.workers
    config.batch_size, config.model.image.size = job.batch_size, job.image_size
    config.model.text.context_length = job.context_length
    tokenizer = Trained.load(Path(job.folder))
    source = corpora.open_train(config)
    return ((b["image"], b["text"]) for b in pipeline.batches(config, source, tokenizer))


if __name__ == "__main__":
    job = Job.given()
    measure(job, batches(job))
