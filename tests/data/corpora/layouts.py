"""Sets with the names and features of TFDS's own, which TFDS writes here, of drawings that are at
hand: what a user who has the real ones finds on disk."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from aligngap.data import corpora
from aligngap.data.records import Record

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
COCO = {  # As in object_detection/coco_captions.py, whose import needs TensorFlow.
    "image": tfds.features.Image(encoding_format="jpeg"),
    "image/filename": tfds.features.Text(),
    "image/id": np.int64,
    "objects": tfds.features.Sequence(
        {
            "id": np.int64,
            "area": np.int64,
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(num_classes=80),
            "is_crowd": np.bool_,
        }
    ),
    "captions": tfds.features.Sequence({"text": np.str_, "id": np.int64}),
}
BOX = tfds.features.BBox(ymin=0.0, xmin=0.1, ymax=0.5, xmax=0.9)
Examples = Mapping[str, list[dict[str, Any]]]


class Written(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
    """Examples by split, as they are; TFDS's own class looks for TensorFlow among them."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Any]]]:
        return {split: enumerate(members) for split, members in self._split_datasets.items()}


def write(data_dir: Path, name: str, features: Mapping[str, Any], examples: Examples) -> Path:
    """Writes NAME:VERSION or NAME/CONFIG:VERSION; returns its folder."""
    path, _, version = name.partition(":")
    own, _, config = path.partition("/")
    builder = Written(
        name=own,
        version=version,
        config=config or None,
        features=tfds.features.FeaturesDict(features),
        split_datasets=examples,
        data_dir=data_dir,
        file_format="array_record",
        disable_shuffling=True,
    )
    builder.download_and_prepare()
    return Path(builder.data_path)


def drawings(pictograms_dir: Path) -> list[Record]:
    """Some thousand drawings with their names."""
    source = corpora.find("pictograms", pictograms_dir).open("train")
    return [source[row] for row in range(0, len(source), 3)]


def encoded(png: bytes, form: str, side: int) -> bytes:
    """The drawing as PNG or JPEG of another size."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").resize((side, side)).save(file, form)
    return file.getvalue()


def cifar10(data_dir: Path, records: list[Record]) -> Examples:
    """60 to train on, 40 to test on, with the ten classes in turn."""
    features = dict(tfds.builder_cls("cifar10")(data_dir=data_dir).info.features)
    features["label"] = tfds.features.ClassLabel(names=CIFAR10)
    examples = [
        {"id": f"{number:05}", "image": encoded(record.image, "PNG", 32), "label": number % 10}
        for number, record in enumerate(records[:100])
    ]
    found = {"train": examples[:60], "test": examples[60:]}
    write(data_dir, "cifar10:3.0.2", features, found)
    return found


def coco_captions(data_dir: Path, records: list[Record]) -> Examples:
    """Images with one to five captions in Karpathy's splits, and an object with its box."""
    examples = []
    for number, record in enumerate(records[:160]):
        texts = [f"A drawing of {name}.\n" for name in record.captions[:5]]
        thing = {"id": number, "area": 9, "bbox": BOX, "label": 3}
        examples.append(
            {
                "image": encoded(record.image, "JPEG", 48 + number % 9),
                "image/filename": f"COCO_val2014_{number:012}.jpg",
                "image/id": number,
                "objects": [thing | {"is_crowd": False}] * (number % 3),
                "captions": [{"id": i, "text": text} for i, text in enumerate(texts)],
            }
        )
    bounds = {"train": (0, 80), "val": (80, 110), "test": (110, 140), "restval": (140, 160)}
    found = {split: examples[start:stop] for split, (start, stop) in bounds.items()}
    write(data_dir, "coco_captions/2014:1.1.0", COCO, found)
    return found


def of_builder(data_dir: Path, name: str, records: list[Record]) -> Examples:
    """imagenet2012 or oxford_flowers102 with the features of TFDS's builder; labels 0, 7, 14, ...

    ImageNet's `test` has no labels.
    """
    builder = tfds.builder_cls(name)(data_dir=data_dir)
    count = builder.info.features["label"].num_classes
    examples = [
        {
            "image": encoded(record.image, "JPEG", 64),
            "label": 7 * number % count,
            "file_name": f"image_{number:05}.jpg",
        }
        for number, record in enumerate(records[:30])
    ]
    test = examples[20:]
    if name == "imagenet2012":
        test = [example | {"label": -1} for example in test]
    found = {"train": examples[:10], "validation": examples[10:20], "test": test}
    write(data_dir, f"{name}:{builder.version}", builder.info.features, found)
    return found
