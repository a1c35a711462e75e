"""What a user of the package has of their own: a corpus, an evaluator and a tokenizer."""

import dataclasses
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from aligngap.data.corpus import Corpus, Split
from aligngap.data.records import Record
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.evaluation.evaluator import Evaluator, Value
from aligngap.intervals import Interval

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (30, 60, 200), "grey": (90,) * 3}
FORMS = ("circle", "square", "bar", "cross", "ring")


def drawn(colour: str, form: str) -> bytes:
    image = Image.new("RGB", (48, 48), "white")
    pen, fill = ImageDraw.Draw(image), COLOURS[colour]
    if form == "circle":
        pen.ellipse((8, 8, 40, 40), fill=fill)
    elif form == "ring":
        pen.ellipse((8, 8, 40, 40), outline=fill, width=6)
    elif form == "square":
        pen.rectangle((10, 10, 38, 38), fill=fill)
    else:
        pen.rectangle((4, 20, 44, 28), fill=fill)
        if form == "cross":
            pen.rectangle((20, 4, 28, 44), fill=fill)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Drawn:
    """The records of a split: every fifth shape is held out."""

    def __init__(self, split: str) -> None:
        every = [(colour, form) for colour in COLOURS for form in FORMS]
        self._held = [x for i, x in enumerate(every) if (i % 5 == 4) == (split != "train")]
        self.version = f"1 {split}"

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, row: int) -> Record:
        colour, form = self._held[row]
        texts = (f"a {colour} {form}", f"{form} in {colour}")
        return Record(
            drawn(colour, form), texts, labels={"colour": colour}, name=f"{colour}_{form}"
        )


class Shapes(Corpus):
    """Twenty images: coloured shapes, with two captions each."""

    splits = (
        Split("train", "train"),
        Split("some", "validation"),
        Split("held_out", "test", "Shapes held out", "shapes that training did not see"),
    )
    kinds = ("colour",)

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)

    def open(self, split: str) -> Drawn:
        self.split(split)
        return Drawn(split)

    def classes(self, kind: str) -> dict[str, list[str]]:
        return {colour: [f"a {colour} shape", colour] for colour in COLOURS}


class Torn(Shapes):
    """Every fourth image of those to train on is cut off."""

    def open(self, split: str) -> Any:
        return Tearing(split) if split == "train" else super().open(split)


class Tearing(Drawn):
    def __getitem__(self, row: int) -> Record:
        record = super().__getitem__(row)
        torn = record.image[: len(record.image) // 2]
        return dataclasses.replace(record, image=torn) if row % 4 == 1 else record


class Spread(Evaluator):
    """evaluators.spread = {"type": "shapes.Spread", "every_steps": 2, "power": 2}"""

    OPTIONS = {"power": 1}  # noqa: RUF012

    def __call__(self, params: Any) -> Iterator[tuple[str, Value]]:
        image, text = self.model.embedded(params, self.entry.split)
        for name, rows in (("image", image), ("text", text)):
            spread = float(np.linalg.norm(rows.std(axis=0)) ** self.entry.power)
            yield f"of_{name}/spread", Interval(spread, spread / 2, 2 * spread)
        yield "rows", float(len(image) + len(text))


@dataclass(frozen=True)
class Letters(Tokenizer):
    """A token a letter of those that the captions have, most frequent first; 0 pads, 1 ends."""

    letters: str
    file = "letters.txt"

    @classmethod
    def make(cls, captions, vocab_size, data_dir):
        text = "".join(captions)
        return cls("".join(sorted(set(text), key=lambda c: (-text.count(c), c))[: vocab_size - 2]))

    @classmethod
    def load(cls, folder):
        return cls((folder / cls.file).read_text())

    @classmethod
    def problems(cls, name, text):
        if text.pooling != "last":
            yield f"model.text.pooling={text.pooling}: data.tokenizer={name} needs last"

    @property
    def vocab_size(self):
        return len(self.letters) + 2

    @property
    def end_id(self):
        return 1

    @property
    def padding_id(self):
        return 0

    @property
    def fingerprint(self):
        return self.letters

    def encode(self, texts, context_length):
        ids = np.zeros((len(texts), context_length), np.int32)
        for row, text in zip(ids, texts, strict=True):
            known = [self.letters.index(c) + 2 for c in text if c in self.letters]
            kept = [*known[: context_length - 1], self.end_id]
            row[: len(kept)] = kept
        return ids

    def decode(self, ids):
        return "".join(self.letters[i - 2] for i in ids if i > 1)

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.file).write_text(self.letters)
