"""A place in the stream → one row of a batch: its record read, cropped, tokenised."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import grain
import numpy as np
from ml_collections import ConfigDict
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

from aligngap.data import crops, images, records
from aligngap.data.records import Batch, Record, Source
from aligngap.data.semantics import OwnSemantics
from aligngap.data.sentence_models import SentenceTokens
from aligngap.data.stream import Place
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, StoreError

MOST_SKIPPED = 100  # Records one after the other that cannot be read, before it is an error.
MOST_HELD = 2**31  # Bytes of decoded records in a process; more are read each time.


class Part(NamedTuple):
    """What is trained on of a corpus."""

    source: Source
    name: str  # As messages call it: its split.
    data: ConfigDict  # `config.data`, as it is for this corpus.
    record: Callable[[int], Record]  # Row → record, its group unlike those of other corpora.
    semantics: OwnSemantics | None = None  # The user's, a row for each record.


class Read(NamedTuple):
    """A record that was read, and its image; None: it is decoded anew for each crop, as a JPEG."""

    record: Record
    image: Image | None

    @property
    def size(self) -> int:
        """Bytes, about."""
        pixels = self.image.width * self.image.height if self.image else 0
        return len(self.record.image) + 3 * pixels


class Example(grain.transforms.RandomMap):
    """A place → what one row of a batch holds; all randomness from the generator it is given.

    A record that cannot be read or decoded is replaced by the next of its corpus that can: that
    depends on the place alone, so neither workers nor processes nor a restart change it.
    """

    def __init__(
        self,
        config: ConfigDict,
        tokenizer: Tokenizer,
        parts: Sequence[Part],
        sentence: SentenceTokens | None = None,  # Where the step says what captions mean.
    ) -> None:
        self._config, self._tokenizer, self._parts = config, tokenizer, parts
        self._sentence = sentence
        self._shapes = records.batch_shapes(config)
        # Each process reads and decodes a record once, and then holds it, while there is room.
        self._kept: dict[Place, Read] = {}
        self._room = MOST_HELD if config.data.in_memory else 0

    def random_map(self, element: Place, rng: np.random.Generator) -> Batch:
        """The row, with `replaced`: how many records were skipped to find it (int32 scalar).

        AligngapError where none of MOST_SKIPPED further records can be read either.
        """
        length = len(self._parts[element.corpus].source)
        reasons: list[AligngapError] = []
        for skipped in range(min(MOST_SKIPPED + 1, length)):
            place = Place(element.corpus, (element.row + skipped) % length)
            try:
                return {**self.row(place, rng), "replaced": np.array(skipped, np.int32)}
            except StoreError:
                raise  # Of no record: with another in its place the stream would not be the same.
            except AligngapError as error:
                reasons.append(error)
        raise AligngapError(f"{reasons[0]}; nor can the next {len(reasons) - 1} records be used")

    def row(self, place: Place, rng: np.random.Generator) -> Batch:
        """The row of the record at a place; AligngapError where it cannot be read or decoded."""
        part, read, model = self._parts[place.corpus], self._read(place), self._config.model
        data = part.data
        name = f"{place.row} of {part.name}"
        image = read.image or crops.opened(read.record.image, name)
        with images.telling(name):
            size, scale, ratio = model.image.size, data.crop_scale, data.crop_ratio
            crop = crops.random_crop(image, size, scale, ratio, rng)
        caption, which = records.sample_caption(read.record, data, rng)
        found = {
            "image": crop,
            "text": self._tokenizer.encode([caption], model.text.context_length)[0],
            "group": records.group_of(read.record, place.row),
        }
        if (semantics := _semantics(part, read.record, place.row, which)) is not None:
            found["semantics"] = semantics
        if self._sentence is not None:
            found["sentence"] = self._sentence(caption)
        return records.row(self._shapes, found)

    def why(self, place: Place) -> str:
        """Why another record takes the place of this one, in a line."""
        try:
            self.row(place, np.random.default_rng(0))
        except AligngapError as error:
            return str(error)
        return f"record {place.row} of {self._parts[place.corpus].name} could not be read in time"

    def _read(self, place: Place) -> Read:
        if (kept := self._kept.get(place)) is not None:
            return kept
        part = self._parts[place.corpus]
        record = part.record(place.row)
        if self._room <= 0:
            return Read(record, None)
        image = crops.opened(record.image, f"{place.row} of {part.name}")
        read = Read(record, None if isinstance(image, JpegImageFile) else image)
        self._kept[place] = read
        self._room -= read.size
        return read


def _semantics(part: Part, record: Record, row: int, which: int) -> np.ndarray | None:
    """The user's, else the record's: one for all its captions, or that of the sampled one."""
    if part.semantics is not None:
        return part.semantics[row]
    own = record.semantics
    return own if own is None or np.ndim(own) == 1 else own[which]
