"""A corpus that `aligngap prepare --source` made: an index of records that stay where they are."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from aligngap.data.corpora import tfds
from aligngap.data.corpus import Corpus, Split
from aligngap.data.records import Source
from aligngap.data.sources import indexed
from aligngap.data.sources.convert import record_of


class Prepared(Corpus):
    """DATA_DIR/NAME, as corpus.json in it says."""

    def __init__(self, data_dir: Path, name: str) -> None:
        super().__init__(data_dir)
        self._name = name
        about = indexed.about(data_dir / name)
        self.splits = tuple(
            Split(role, role, f"Held-out images of {name}" if role == "test" else "")
            for role in about["splits"]
        )
        self.kinds = tuple(about["kinds"])

    @property
    def name(self) -> str:
        return self._name

    def open(self, split: str) -> Source:
        folder, name = self.data_dir / self._name, self.split(split).name
        if not indexed.about(folder)["converted"]:
            return indexed.Indexed(folder, name)
        blocks = partial(indexed.blocks, folder, name)
        return tfds.opened(folder, name, record_of, indexed.version(folder, name), blocks)

    def prepare(self) -> None:
        """It is there."""

    def advice(self, role: str) -> str:
        """Of a few images none may fall to a split."""
        return (
            f"delete {self.folder} and prepare it again with a larger --{role}_share, such as 0.2, "
            f"or with --{role}=PATH_OR_GLOB; or {super().advice(role)}"
        )

    def classes(self, kind: str) -> Mapping[str, Sequence[str]]:
        """A class's name is its text, "-" and "_" as spaces."""
        if kind not in self.kinds:
            return super().classes(kind)
        names = indexed.about(self.data_dir / self._name)["kinds"][kind]
        return {name: [name.replace("_", " ").replace("-", " ")] for name in names}


def exists(data_dir: Path, name: str) -> bool:
    """Whether a folder holds a prepared corpus of that name."""
    return bool(name) and (data_dir / name / indexed.ABOUT).is_file()
