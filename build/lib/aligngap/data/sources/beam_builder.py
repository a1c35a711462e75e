"""TFDS's Beam builder of a prepared corpus: the records of an index, copied by many machines."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2

from aligngap.addresses import is_remote
from aligngap.data.sources import indexed
from aligngap.data.sources.convert import (
    RECORDS,
    Conversion,
    dataset,
    description,
    example_of,
    features_of,
)
from aligngap.errors import AligngapError


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's builder of the records of an index, in its order."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = epath.Path(__file__)  # TFDS's look-up imports what it does not declare.

    def __init__(self, conversion: Conversion, shared: epath.Path) -> None:
        self.name = dataset(conversion)
        self._conversion, self._corpus = conversion, str(shared / "corpus")
        super().__init__(data_dir=str(shared), file_format="array_record")

    def write(self, options: Any) -> None:
        """What `download_and_prepare` does, but in place: it would rename the whole folder at the
        end, for which a store copies every file, and which fsspec's S3 cannot do at all."""
        if self.data_path.exists():  # Left by a run that was killed.
            self.data_path.rmtree()
        self.data_path.mkdir(parents=True)
        config = tfds.download.DownloadConfig(beam_options=options)
        self._download_and_prepare(dl_manager=None, download_config=config)
        for split, source in self._conversion.splits.items():
            written = self.info.splits[split].num_examples
            if written != len(source):  # Rows are told apart by TFDS: none can be there twice.
                raise AligngapError(
                    f"the runner lost records: {written} of {len(source)} of {split} were written"
                )
        self.info.write_to_directory(self.data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=description(self._conversion),
            features=features_of(self._conversion.kinds),
            disable_shuffling=True,  # A key is the row.
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        splits = self._conversion.splits
        return {split: self._generate_examples(split, len(splits[split])) for split in splits}

    def _generate_examples(self, split: str, records: int) -> Any:
        return (
            beam.Create(range(0, records, RECORDS))
            | beam.Reshuffle()
            | beam.FlatMap(_examples, self._corpus, split, records, self._conversion.resize)
        )

    def _example_writer(self) -> writer.ExampleWriter:
        return _Writer(self.info.file_format)


def _examples(
    start: int, corpus: str, split: str, records: int, resize: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = range(start, min(start + RECORDS, records))
    found = indexed.records(epath.Path(corpus), split, rows)
    for row, record in zip(rows, found, strict=True):
        yield row, example_of(record, resize)


class _Writer(writer.ExampleWriter):
    """The same records give the same bytes; and they may go where array_record cannot write."""

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> None:
        same = ((key, _in_order(example)) for key, example in examples)
        if not is_remote(str(path)):
            super().write(path, same)
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "shard"
            super().write(local, same)
            epath.Path(local).copy(path)


def _in_order(example: bytes) -> bytes:
    """An example with its fields in the order of their names."""
    proto = tf_example_pb2.Example.FromString(example)
    return bytes(proto.SerializeToString(deterministic=True))
