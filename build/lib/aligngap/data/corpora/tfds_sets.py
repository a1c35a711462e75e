"""The sets of TensorFlow Datasets, by TFDS's own names: cifar10, coco_captions/2014, NAME:1.2.3.

TFDS makes them, in an environment of its own with TensorFlow; here the array_record files that it
left are read, without TensorFlow.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aligngap import progress
from aligngap.data import prompts
from aligngap.data.corpora import imagenet_names, tfds, tfds_features
from aligngap.data.corpus import Benchmark, Corpus, Licence, Split
from aligngap.errors import AligngapError, UsageError

NAME = re.compile(r"(?P<set>[a-z]\w*)(/(?P<config>[\w.-]+))?(:(?P<version>[\d.*]+))?")
ROLES = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
# What TFDS 4.9's command imports, whatever it is told to do.
NEEDS = "pip install tensorflow-datasets tensorflow array_record apache-beam mlcroissant"


class TfdsSet(Corpus):
    """DATA_DIR/SET/[CONFIG/]VERSION as TFDS wrote it; splits may be sliced: train[:95%]."""

    def __init__(self, data_dir: Path, name: str) -> None:
        super().__init__(data_dir)
        self._name = name
        self._builder = self._opened()
        info = self._builder.info
        self._features = tfds_features.reader(name, info.features)
        self.splits = tuple(
            Split(split, ROLES.get(split, "other"), f"{name}, {split}") for split in info.splits
        )
        self.kinds = tuple(self._features.classes)
        self.captions_are_names = not self._features.captions
        self.unfit = ("retrieval", "search") if self.captions_are_names else ()
        self.benchmark = prompts.SETS.get(_set(name), Benchmark())

    @property
    def name(self) -> str:
        return self._name

    def open(self, split: str) -> tfds.TfdsSource:
        self.split(split)
        info = self._builder.info
        parts = [info.splits[name] for name in _parts(split)]
        with tfds.reading(self._builder.data_path, f"run {self._command()}"):
            for part in parts:
                tfds.check_shards(part)
            raw = self._builder.as_data_source(split, deserialize_method=_raw_bytes())
        size = sum(part.num_bytes for part in parts)
        return tfds.TfdsSource(raw, self._reader, f"{info.full_name} {split} {len(raw)} {size}")

    def prepare(self) -> None:
        """Tells whether the files are whole; fetches names and prompts where they are needed."""
        # Before a split is opened: its records have these names.
        if imagenet_names.needed(self._features.texts):
            imagenet_names.prepare(self.data_dir)
        for split in self.splits:
            self.open(split.name)
        if self.benchmark.prompts:
            prompts.prepare(self.data_dir)
        progress.say(f"{self.name} is already in {self._builder.data_path}")

    def licences(self) -> Sequence[Licence]:
        info = self._builder.info
        licence = " ".join((info.redistribution_info.license or f"see {info.homepage}").split())
        own = Licence(info.name, str(info.version), licence, "TFDS", "images and their texts")
        names = (imagenet_names.LICENCE,) if imagenet_names.needed(self._features.texts) else ()
        return (own, *names, *((prompts.LICENCE,) if self.benchmark.prompts else ()))

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        if kind not in self.kinds:
            return super().classes(kind)
        names = self._reader.classes[kind]
        held = imagenet_names.held(self.data_dir, _set(self.name)) or frozenset(names)
        return {name: self._reader.texts[name] for name in names if name in held}

    def split(self, name: str) -> Split:
        """Its own, or what TFDS makes of them: train[:95%], train+restval."""
        own = {split.name: split for split in self.splits}
        parts = _parts(name)
        if name in own or not set(parts) <= set(own):
            return super().split(name)
        try:
            count = self._builder.info.splits[name].num_examples
        except Exception as error:  # TFDS raises of all kinds, even assertions.
            reason = " ".join(str(error).split())
            raise UsageError(f"split {name!r} of {self.name}: {reason}") from error
        if count < 1:  # train[50%:10%] has a negative length.
            raise UsageError(f"split {name!r} of {self.name} is empty")
        return Split(name, own[parts[0]].role, f"{self.name}, {name}")

    def advice(self, role: str) -> str:
        names = [split.name for split in self.splits]
        source = "train" if "train" in names else names[0]
        both = (f"--config.data.{r}_split='{source}[{p}]'" for r, p in _HALVES.items())
        return f"take a part of another, such as {' '.join(both)}"

    @functools.cached_property
    def _reader(self) -> tfds_features.Reader:
        """With the names of ImageNet's classes in place of their ids."""
        texts = self._features.texts
        if not imagenet_names.needed(texts):
            return self._features
        names = imagenet_names.read(self.data_dir, self.name)
        called = {key: (names[key],) if key in names else text for key, text in texts.items()}
        return dataclasses.replace(self._features, texts=called)

    def _opened(self) -> Any:
        """TFDS's builder of what is there; AligngapError says how to make what is not."""
        from tensorflow_datasets.core import read_only_builder, registered

        builder = None
        read = read_only_builder.builder_from_files
        damage = tfds.reading(self.data_dir / _set(self.name), f"run {self._command()}")
        with damage, contextlib.suppress(registered.DatasetNotFoundError):
            builder = read(self.name, data_dir=self.data_dir)
        if builder is None:
            raise AligngapError(self._missing())
        folder = builder.data_path
        if tfds.FORMAT not in {form.value for form in builder.info.available_file_formats()}:
            raise AligngapError(
                f"{self.name} is in {folder} as {builder.info.file_format.value}, which cannot be "
                f"read at random: run `tfds convert_format --dataset_version_dir={folder} "
                f"--out_file_format={tfds.FORMAT}` ({NEEDS})"
            )
        # Beside another format, where it was converted in place.
        builder.info.set_file_format(tfds.FORMAT, override=True, override_if_initialized=True)
        return builder

    def _missing(self) -> str:
        folder = self.data_dir / _set(self.name)
        hidden = (".", "incomplete.")  # TFDS's notes, and what it has not finished.
        found = (path.name for path in folder.glob("*") if path.is_dir())
        there = sorted(name for name in found if not name.startswith(hidden))
        held = f" (which has {', '.join(there)} of {_set(self.name)})" if there else ""
        return f"{self.name} is missing in {self.data_dir}{held}: run {self._command()}"

    def _command(self) -> str:
        given = f"--data_dir={self.data_dir} --file_format={tfds.FORMAT}"
        return f"`tfds build {self.name} {given}` ({NEEDS})"


_HALVES = {"train": ":95%", "validation": "95%:"}


def exists(data_dir: Path, name: str) -> bool:
    """Whether that is a set of TFDS: it lies in a folder, or TFDS knows how to make it."""
    if not NAME.fullmatch(name):
        return False
    folder = data_dir / _set(name)
    written = any(any(folder.glob(f"{below}features.json")) for below in ("*/", "*/*/"))
    return written or _set(name) in known()


def known() -> list[str]:
    """The names of all sets that TFDS can make; texts and sounds are among them."""
    import tensorflow_datasets

    names: list[str] = tensorflow_datasets.list_builders(with_community_datasets=False)
    return names


def _set(name: str) -> str:
    """cifar10 of cifar10:3.0.2."""
    return re.split("[/:]", name)[0]


def _parts(split: str) -> list[str]:
    """The splits that an instruction takes parts of: train, test of train[:10]+test."""
    return [part.partition("[")[0].strip() for part in split.split("+")]


def _raw_bytes() -> Any:
    import tensorflow_datasets

    return tensorflow_datasets.decode.DeserializeMethod.RAW_BYTES
