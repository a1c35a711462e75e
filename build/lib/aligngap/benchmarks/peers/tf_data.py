"""tf.data over TFRecords, as TensorFlow's image models are trained.

Files in a random order, two at a time, and their records shuffled in a buffer; only the part of a
JPEG that a crop needs is decoded (`decode_and_crop_jpeg`), then resized with antialiasing. Captions
become ids a batch at a time. The records are written once, and that is not counted.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from aligngap import atomic
from aligngap.benchmarks.peers.job import Ids, Job, measure

BUFFER = 1000  # Records that are shuffled.


def batches(job: Job) -> Iterator[tuple[Any, Any]]:
    """Endless."""
    auto = tf.data.AUTOTUNE
    files = tf.data.Dataset.from_tensor_slices(_records(job)).shuffle(len(job.shards))
    rows = files.interleave(
        tf.data.TFRecordDataset, cycle_length=2, num_parallel_calls=auto, deterministic=False
    )
    rows = rows.repeat().shuffle(BUFFER)
    rows = rows.map(lambda record: _row(job, record), num_parallel_calls=auto, deterministic=False)
    batched = rows.batch(job.batch_size, drop_remainder=True)
    ids = Ids(job)

    def tokenised(images: Any, texts: Any) -> tuple[Any, Any]:
        of_bytes = lambda rows: ids([row.decode() for row in rows])  # noqa: E731
        return images, tf.numpy_function(of_bytes, [texts], tf.int32)

    return iter(batched.map(tokenised, num_parallel_calls=auto).prefetch(auto))


def _records(job: Job) -> list[str]:
    """A file a shard, written unless they are there."""
    folder = Path(job.folder) / "tfrecords"
    if not folder.exists():
        with atomic.folder(folder) as filling:
            for shard in job.shards:
                _write(shard, filling / f"{Path(shard).stem}.tfrecord")
    return sorted(map(str, folder.iterdir()))


def _write(shard: str, target: Path) -> None:
    with tarfile.open(shard) as archive, tf.io.TFRecordWriter(str(target)) as writer:
        sample: dict[str, Any] = {}
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            value = tf.train.BytesList(value=[stream.read()])
            sample[member.name.rpartition(".")[2]] = tf.train.Feature(bytes_list=value)
            if len(sample) == len(FEATURES):
                features = tf.train.Features(feature=sample)
                writer.write(tf.train.Example(features=features).SerializeToString())
                sample = {}


FEATURES = {kind: tf.io.FixedLenFeature([], tf.string) for kind in ("jpg", "txt")}


def _row(job: Job, record: Any) -> tuple[Any, Any]:
    found = tf.io.parse_single_example(record, FEATURES)
    shape = tf.io.extract_jpeg_shape(found["jpg"])
    start, size, _ = tf.image.sample_distorted_bounding_box(
        shape,
        tf.zeros([0, 0, 4], tf.float32),
        area_range=job.scale,
        aspect_ratio_range=job.ratio,
        min_object_covered=0,
        use_image_if_no_bounding_boxes=True,
        max_attempts=10,
    )
    window = tf.concat([start[:2], size[:2]], 0)
    image = tf.io.decode_and_crop_jpeg(found["jpg"], window, channels=3)
    side = [job.image_size, job.image_size]
    image = tf.image.resize(image, side, "bicubic", antialias=True)
    image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
    return image, found["txt"]


if __name__ == "__main__":
    job = Job.given()
    measure(job, batches(job))
