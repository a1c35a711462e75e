"""The builder of pictograms: fetches names and drawings, renders, splits, writes.

One record is one rendering of one concept. Records of the same concept in several sets share
their captions; which captions a training step samples is the pipeline's business.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from jaxtyping import Float

from aligngap import progress
from aligngap.data import fetch, records, sentence_models, sentences
from aligngap.data.corpora import pictogram_splits as splits
from aligngap.data.corpora.pictogram_concepts import EMOJIBASE, EMOJILIB, Concept, read_concepts
from aligngap.data.corpora.pictogram_rendering import render_all
from aligngap.data.corpora.pictogram_sources import DRAWING_SETS, Drawing, drawings
from aligngap.data.corpus import Licence

_PINS = [EMOJIBASE, EMOJILIB, *(drawing_set.pin for drawing_set in DRAWING_SETS)]


@dataclass(frozen=True)
class Picture:
    """A drawing and its PNG."""

    drawing: Drawing
    png: bytes

    @property
    def split(self) -> str | None:
        concept, family = self.drawing.concept, self.drawing.drawing_set.family
        return splits.split_of(concept.concept_group, concept.group, family)


class PictogramBuilder(tfds.core.GeneratorBasedBuilder):
    """Image-caption pairs split by concept group and drawing family (see pictogram_splits)."""

    # TFDS's own look-up of this path imports importlib_resources, which it does not declare.
    code_path = epath.Path(__file__)
    name = "pictograms"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {"1.1.0": "concept_number, in place of a checksum of the concept"}

    def _info(self) -> tfds.core.DatasetInfo:
        """`semantics` is the unit sentence embedding of `captions[0]`, the concept's label: a
        record's meaning is its concept's, whichever of its captions is sampled.
        """
        text = tfds.features.Text
        features = {
            # Bytes rather than an Image feature, which would need TensorFlow to decode.
            "image": tfds.features.Tensor(shape=(), dtype=np.bytes_, doc="PNG, 64x64 RGB"),
            "captions": tfds.features.Sequence(text(), doc="label, other names, keywords"),
            "num_names": tfds.features.Scalar(np.int32, doc="captions that are names"),
            "semantics": tfds.features.Tensor(shape=(records.SEMANTICS,), dtype=np.float32),
            "concept": text(doc="hexcode"),
            "concept_number": tfds.features.Scalar(np.int32, doc="one a concept, from 0"),
            "concept_group": text(doc="what is held out as a whole"),
            "group": text(),
            "subgroup": text(),
            "drawing_set": text(),
            "family": text(doc="the hand that drew it"),
            "licence": text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage="https://icon-sets.iconify.design",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        downloads = fetch.downloads(Path(self.data_dir_root))
        tarballs = fetch.npm_tarballs(_PINS, downloads)
        encoder = sentences.load(
            sentence_models.MINILM, Path(self.data_dir_root)
        )  # everything is fetched before the long work begins
        concepts, pictures = _pictures(tarballs)
        numbers = {concept.id: number for number, concept in enumerate(concepts)}
        semantics = _semantics(concepts, encoder)
        progress.say(f"Writing {len(pictures)} pictures of {len(concepts)} concepts")
        return {
            split: self._generate_examples(members, semantics, numbers)
            for split, members in _by_split(pictures).items()
        }

    def _generate_examples(
        self,
        pictures: Sequence[Picture],
        semantics: Mapping[str, Float[np.ndarray, "S"]],
        numbers: Mapping[str, int],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for picture in pictures:
            concept, drawing_set = picture.drawing.concept, picture.drawing.drawing_set
            yield (
                f"{drawing_set.name}/{concept.id}",
                {
                    "image": picture.png,
                    "captions": list(concept.captions),
                    "num_names": len(concept.names),
                    "semantics": semantics[concept.id],
                    "concept": concept.id,
                    "concept_number": numbers[concept.id],
                    "concept_group": concept.concept_group,
                    "group": concept.group,
                    "subgroup": concept.subgroup,
                    "drawing_set": drawing_set.name,
                    "family": drawing_set.family,
                    "licence": drawing_set.licence,
                },
            )


def _pictures(tarballs: Mapping[str, Path]) -> tuple[list[Concept], list[Picture]]:
    progress.say("Reading names and drawings")
    concepts = read_concepts(tarballs)
    found = list(drawings(DRAWING_SETS, concepts, tarballs))
    pngs = render_all([drawing.svg for drawing in found], "Rendering")
    pictures = [Picture(drawing, png) for drawing, png in zip(found, pngs, strict=True) if png]
    return concepts, _distinct(pictures)


def _distinct(pictures: Iterable[Picture]) -> list[Picture]:
    """Without pixels that say nothing: those of several concept groups (one-colour sets draw all
    hearts alike) go altogether, of those repeated for one concept the first stays.
    """
    pictures = list(pictures)
    shown: defaultdict[bytes, set[str]] = defaultdict(set)
    for picture in pictures:
        shown[picture.png].add(picture.drawing.concept.concept_group)
    clear = [picture for picture in pictures if len(shown[picture.png]) == 1]
    return list({(picture.drawing.concept.id, picture.png): picture for picture in clear}.values())


def _semantics(
    concepts: Sequence[Concept], encoder: sentences.SentenceEncoder
) -> dict[str, Float[np.ndarray, "S"]]:
    """Concept id → unit sentence embedding of its label."""
    progress.say(f"Embedding the labels of {len(concepts)} concepts")
    rows = encoder.embed([concept.label for concept in concepts])
    return {concept.id: row for concept, row in zip(concepts, rows, strict=True)}


def _by_split(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    """Every split's pictures; an unseen style is only told of concepts with a trained picture."""
    members: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.split:
            members[picture.split].append(picture)
    trained = {picture.drawing.concept.id for picture in members[splits.TRAIN]}
    seen = [p for p in members[splits.UNSEEN_STYLE] if p.drawing.concept.id in trained]
    members[splits.UNSEEN_STYLE] = seen
    return {split: members[split] for split in splits.SPLITS}


def licences() -> list[Licence]:
    """The twelve icon sets, the two lists of names, and the model behind `semantics`."""
    sets = [
        Licence(s.name, s.version, s.licence, f"npm {s.pin.name}", "images") for s in DRAWING_SETS
    ]
    names = [
        Licence(pin.name, pin.version, "MIT", f"npm {pin.name}", provides)
        for pin, provides in [(EMOJIBASE, "names, tags, groups"), (EMOJILIB, "names, keywords")]
    ]
    model = sentence_models.WHEEL
    source = Licence(
        "all-MiniLM-L6-v2", model.version, "Apache-2.0", f"PyPI {model.name}", "sentence embeddings"
    )
    return [*sets, *names, source]
