"""`--convert`: the indexed records copied into array_record files that TFDS reads.

For sources that are slow to read at random: parquet, object stores, images that are larger than
training needs. A shard is written whole or not at all, so a conversion that was killed goes on.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from aligngap import progress
from aligngap.data import images
from aligngap.data.records import Record, Source
from aligngap.data.sources import workers
from aligngap.errors import AligngapError

RECORDS = 4096  # Of a shard.
LABEL = "label_"  # Before the name of a kind, as TFDS knows its field.
QUALITY = 92  # Of a JPEG that was resized.


@dataclass(frozen=True)
class Conversion:
    """What is written, and how."""

    name: str
    splits: Mapping[str, Source]
    kinds: tuple[str, ...]  # Of labels.
    resize: int  # Pixels of the shorter side of what is larger; 0: images stay as they are.
    folder: Path


class Shard(NamedTuple):
    """Rows [start, stop) of a split, and the file of them."""

    conversion: Conversion
    split: str
    start: int
    stop: int
    path: Path


def convert(conversion: Conversion, processes: int) -> None:
    """Writes what is missing of the shards, then what TFDS must know of them."""
    shards = list(_shards(conversion))
    missing = [shard for shard in shards if not shard.path.exists()]
    done = sum(s.stop - s.start for s in shards) - sum(s.stop - s.start for s in missing)
    total = sum(shard.stop - shard.start for shard in shards)
    with progress.Bar("Converting", total, "records", initial=done) as bar:
        for written in workers.each(write, missing, processes):
            bar.advance(written)
    _write_metadata(conversion, shards)


def write(shard: Shard) -> int:
    """Writes one shard; returns how many records it has."""
    serialized = _serializer(features_of(shard.conversion.kinds))
    source = shard.conversion.splits[shard.split]
    partial = shard.path.with_name(f".{shard.path.name}.partial")
    writer = ArrayRecordWriter(str(partial), "group_size:1")
    try:
        for row in range(shard.start, shard.stop):
            writer.write(serialized(example_of(source[row], shard.conversion.resize)))
        writer.close()
    except RuntimeError as error:  # Of its writer, for instance on a full disk.
        raise AligngapError(f"{partial} cannot be written: {error}") from error
    partial.replace(shard.path)
    return shard.stop - shard.start


def features_of(kinds: tuple[str, ...]) -> Any:
    """What TFDS calls the fields of a record."""
    import tensorflow_datasets as tfds

    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            # Bytes rather than an Image feature, which would need TensorFlow to decode.
            "image": tfds.features.Tensor(shape=(), dtype=np.bytes_, doc="as it was encoded"),
            "captions": tfds.features.Sequence(text()),
            "keywords": tfds.features.Sequence(text()),
            "name": text(),
            **{LABEL + kind: text() for kind in kinds},
        }
    )


def _serializer(features: Any) -> Callable[[dict[str, Any]], bytes]:
    """As TFDS does it, but that the same example always gives the same bytes."""
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    serializer = ExampleSerializer(features.get_serialized_info())

    def serialized(example: dict[str, Any]) -> bytes:
        proto = serializer.get_tf_example(features.encode_example(example))
        return bytes(proto.SerializeToString(deterministic=True))

    return serialized


def example_of(record: Record, resize: int) -> dict[str, Any]:
    """A record as TFDS writes it."""
    return {
        "image": resized(record.image, resize) if resize else record.image,
        "captions": list(record.captions),
        "keywords": list(record.keywords),
        "name": record.name,
        **{LABEL + kind: name for kind, name in record.labels.items()},
    }


def record_of(raw: Mapping[str, Any]) -> Record:
    """What TFDS reads → the record; text comes as UTF-8 bytes."""
    return Record(
        image=raw["image"],
        captions=tuple(text.decode() for text in raw["captions"]),
        keywords=tuple(text.decode() for text in raw["keywords"]),
        name=raw["name"].decode(),
        labels={
            key.removeprefix(LABEL): text.decode()
            for key, text in raw.items()
            if key.startswith(LABEL)
        },
    )


def resized(encoded: bytes, side: int) -> bytes:
    """An image whose shorter side is `side` at most: JPEG stays JPEG, all others become PNG."""
    image = Image.open(io.BytesIO(encoded), formats=images.FORMATS)
    if min(image.size) <= side:
        return encoded
    kind = image.format
    upright = images.decode(encoded)
    scale = side / min(upright.size)
    size = (max(side, round(upright.width * scale)), max(side, round(upright.height * scale)))
    small = upright.resize(size, Image.Resampling.BICUBIC)
    written = io.BytesIO()
    if kind == "JPEG":
        small.save(written, "JPEG", quality=QUALITY)
    else:
        small.save(written, "PNG")
    return written.getvalue()


def _shards(conversion: Conversion) -> Iterator[Shard]:
    for split, source in conversion.splits.items():
        count = -(-len(source) // RECORDS)
        for number in range(count):
            name = f"{dataset(conversion)}-{split}.array_record-{number:05d}-of-{count:05d}"
            start, stop = number * RECORDS, min(len(source), (number + 1) * RECORDS)
            yield Shard(conversion, split, start, stop, conversion.folder / name)


def dataset(conversion: Conversion) -> str:
    """In files' names, where TFDS reads "-" as the end of it."""
    return conversion.name.replace("-", "_")


def description(conversion: Conversion) -> str:
    """What TFDS's metadata say of it."""
    return f"{conversion.name}, converted by aligngap"


def _write_metadata(conversion: Conversion, shards: list[Shard]) -> None:
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=conversion.folder,
        dataset_name=dataset(conversion),
        filetype_suffix="array_record",
    )
    splits = []
    for split in conversion.splits:
        own = [shard for shard in shards if shard.split == split]
        splits.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[shard.stop - shard.start for shard in own],
                num_bytes=sum(shard.path.stat().st_size for shard in own),
                filename_template=template.replace(split=split),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=conversion.folder,
        features=features_of(conversion.kinds),
        split_infos=splits,
        description=description(conversion),
        check_data=False,  # It would read an example with TensorFlow.
    )
