"""Which features of a TFDS set are what a record holds: its image, captions, classes and name."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aligngap.data.records import Record
from aligngap.errors import AligngapError, UsageError

CAPTION = re.compile(r"caption\w*|texts?|sentences?|raw|description")
NAMES = ("file_name", "image/filename", "filename", "id", "image/id")
Path = tuple[str, ...]  # To a feature, through dictionaries.


@dataclass(frozen=True)
class Reader:
    """A serialised example → Record. Called by worker processes: no TensorFlow, no decoding."""

    set_name: str
    features: Any  # TFDS's FeaturesDict of what a record needs and of nothing else.
    image: str
    captions: tuple[Path, ...]  # (): the texts of its class are the captions.
    classes: Mapping[str, Sequence[str]]  # Kind of labels → its classes in TFDS's order.
    texts: Mapping[str, Sequence[str]]  # Class → what it is called.
    name: str  # "": the set has no names.

    def __call__(self, serialised: bytes) -> Record:
        import tensorflow_datasets as tfds

        encoded = {self.image: tfds.decode.SkipDecoding()}
        example = self.features.deserialize_example_np(serialised, decoders=encoded)
        name = _text(example[self.name]) if self.name else ""
        labels = {kind: self._class(kind, int(example[kind]), name) for kind in self.classes}
        captions = [text for path in self.captions for text in _texts(example, path)]
        if not self.captions:
            captions = [*self.texts[labels["label" if "label" in labels else next(iter(labels))]]]
        return Record(example[self.image], tuple(captions), labels=labels, name=name)

    def _class(self, kind: str, number: int, record: str) -> str:
        names = self.classes[kind]
        if not 0 <= number < len(names):  # TFDS writes −1 where the labels are kept secret.
            raise AligngapError(
                f"record {record or '?'} of {self.set_name} has no {kind} ({number}): its classes "
                "are withheld; name another split, such as data.test_splits=('validation',)"
            )
        return names[number]


def reader(set_name: str, features: Any) -> Reader:
    """How examples of a set are read. UsageError for one without images, or with neither captions
    nor classes."""
    import tensorflow_datasets as tfds

    # TFDS restores them in another order each time, but which caption is the first must not vary.
    features = dict(sorted(features.items()))
    image = _image(set_name, features)
    captions = tuple(_caption_paths(features))
    classes = _classes(features)
    if not (captions or classes):
        raise UsageError(f"{set_name} has neither captions nor classes, but {_list(features)}")
    name = next((key for key in NAMES if key in features), "")
    wanted = {image, *(path[0] for path in captions), *classes, *filter(None, [name])}
    return Reader(
        set_name,
        tfds.features.FeaturesDict({key: x for key, x in features.items() if key in wanted}),
        image,
        captions,
        classes,
        {class_name: called(class_name) for names in classes.values() for class_name in names},
        name,
    )


def called(class_name: str) -> tuple[str, ...]:
    """Its texts: "tench, Tinca tinca" has two names, "sea_horse" is "sea horse", SUN397's
    "/c/cabin/outdoor" is "cabin outdoor"; words that have spaces already keep "-" and "/"."""
    written = class_name if re.search(r"\s", class_name.strip()) else _words(class_name)
    texts = (" ".join(part.replace("_", " ").split()) for part in written.split(","))
    return tuple(text for text in texts if text) or (class_name,)


def _words(identifier: str) -> str:
    return re.sub(r"[-/]+", " ", re.sub(r"^/\w/", "", identifier))


def _image(set_name: str, features: Any) -> str:
    """The only image, or the one called so."""
    import tensorflow_datasets as tfds

    # Pixels that are floats, such as depths, lie in a PNG's bytes as no decoder expects them.
    found = [
        key
        for key, feature in features.items()
        if type(feature) is tfds.features.Image and feature.np_dtype != np.float32
    ]
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else found[0]
    several = f"several images ({', '.join(found)}), none of them called image"
    raise UsageError(
        f"{set_name} cannot be used: it has {several if found else 'no image, but '}"
        f"{'' if found else _list(features)}"
    )


def _classes(features: Any) -> dict[str, list[str]]:
    """Kind → the classes of it in order; of an image as a whole, not of what is seen on it."""
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel
    found = ((key, x) for key, x in features.items() if isinstance(x, label) and x.num_classes)
    return {key: list(feature.names) for key, feature in found}


def _caption_paths(features: Any) -> Iterator[Path]:
    """A text, several texts, or the texts of (several) dictionaries, as COCO's {id, text}."""
    import tensorflow_datasets as tfds

    for key, feature in features.items():
        if not CAPTION.fullmatch(key):
            continue
        inner = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
        if _is_text(inner):
            yield (key,)
        elif isinstance(inner, tfds.features.FeaturesDict):
            items = sorted(inner.items())
            found = (name for name, x in items if CAPTION.fullmatch(name) and _is_text(x))
            yield from ((key, name) for name in found)


def _is_text(feature: Any) -> bool:
    info = feature.get_tensor_info()
    return not isinstance(info, dict) and info.shape == () and info.np_dtype in (np.object_, str)


def _texts(example: Any, path: Path) -> list[str]:
    """One text or several, without what is empty, and with single spaces."""
    for key in path:
        example = example[key]
    given = [example] if isinstance(example, bytes) else list(example)
    return [text for one in given if (text := " ".join(_text(one).split()))]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _list(features: Any) -> str:
    return ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
