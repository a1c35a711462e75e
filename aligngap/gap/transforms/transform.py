"""A way to close the gap, fitted once and applied anywhere."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aligngap import json_text, modalities
from aligngap.errors import AligngapError, UsageError
from aligngap.gap.sources import StoredArray
from aligngap.gap.transforms import stored
from aligngap.gap.transforms.maps import KINDS, Map, through
from aligngap.gap.transforms.methods import METHODS
from aligngap.gap.transforms.methods.contract import Clouds, Method, Options
from aligngap.gap.transforms.methods.options import settled
from aligngap.gap.transforms.rows import Given, Rows, distinct
from aligngap.json_text import NUMBER

FORMAT, MAKER = "aligngap gap transform", "`aligngap gap fit --output=DIR`"
RECORD = {
    "method": str,
    "options": {str: NUMBER},
    "dimension": int,
    "fitted_rows": {str: int},
    "copies": {str: int},
    "maps": {str: [str]},
    "source": str,
    "licence": str,
}


@dataclasses.dataclass(frozen=True)
class GapTransform:
    """Rows of each modality (images, texts, queries, others by name) → rows without a gap,
    L2-normalised float32.

    Rows are given as an array [N, D] (NumPy's, JAX's), or as the name of a file of them, which is
    read in chunks; normalised or not, of any floating type.
    """

    method: str
    options: Options
    dimension: int  # D, of the rows that it takes.
    fitted: Mapping[str, int]  # modality → distinct rows that it was fitted on.
    copies: Mapping[str, int]  # modality → rows that were copies of those.
    maps: Mapping[str, tuple[Map, ...]]
    source: str  # Of what rows, in the words of who fitted it.
    licence: str  # Of those rows.

    @classmethod
    def fit(
        cls,
        image: Given,
        text: Given,
        method: str = "mean",
        query: Given | None = None,
        *,
        others: Mapping[str, Given] | None = None,
        source: str = "",
        licence: str = "",
        **options: float,
    ) -> "GapTransform":
        """Fitted on rows [N, D], [M, D], [Q, D] and those of `others`, further modalities by name,
        in passes over chunks of them; row i of all but the queries is one item only to `procrustes`
        and `ridge`. Without `query`, queries are treated as texts. Equal rows count once (to those
        two, items equal in all).

        Methods and their options: `methods/`. UsageError for another method, option or name,
        AligngapError for rows that are no embeddings, differ in D, or are too few.
        """
        chosen, others = _method(method), others or {}
        modalities.expect_further(others)
        _check_further(method, chosen, others)
        given = {"image": image, "text": text} | ({} if query is None else {"query": query})
        clouds = {name: Rows(rows, name) for name, rows in (given | {**others}).items()}
        width = clouds["image"].width
        settings = settled(method, chosen, options, width)
        _check_shapes(method, chosen, clouds)
        counts = {name: rows.count for name, rows in clouds.items()}
        clouds = _distinct(clouds, chosen.paired)
        _check_counts(method, chosen, clouds, settings)
        maps = chosen.fit(clouds, settings)
        named = ", ".join(rows.source.title for rows in clouds.values())
        fitted = {name: rows.count for name, rows in clouds.items()}
        copies = {name: counts[name] - fitted[name] for name in fitted}
        return cls(method, settings, width, fitted, copies, maps, source or named, licence)

    def image(self, rows: Given) -> Float[np.ndarray, "N K"]:
        """Images, transformed; AligngapError names rows that are no embeddings."""
        return self.apply("image", rows)

    def text(self, rows: Given) -> Float[np.ndarray, "N K"]:
        """Text documents, likewise."""
        return self.apply("text", rows)

    def query(self, rows: Given) -> Float[np.ndarray, "N K"]:
        """What is searched with, likewise."""
        return self.apply("query", rows)

    def apply(self, modality: str, rows: Given) -> Float[np.ndarray, "N K"]:
        """Rows of any modality by its name; UsageError for one that it does not know."""
        return np.concatenate([*self.chunks(modality, Rows(rows, modality))])

    def chunks(self, modality: str, rows: Rows) -> Iterator[Float[np.ndarray, "n K"]]:
        """The same, some rows at a time."""
        self.expect(rows.source)
        start = 0
        for chunk in rows.chunks("Transforming"):
            yield self.changed(modality, chunk, start, rows.source.given)
            start += len(chunk)

    def changed(
        self, modality: str, rows: Float[np.ndarray, "n D"], start: int, name: str
    ) -> Float[np.ndarray, "n K"]:
        """Rows of length 1, transformed; `start` and `name` are the first one's in errors."""
        return through(self.maps_of(modality), rows, start, name).astype(np.float32)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that it knows: image, text, query, and those of `others`."""
        return (*modalities.OWN, *(name for name in self.maps if name not in modalities.OWN))

    def maps_of(self, modality: str) -> tuple[Map, ...]:
        """What its rows go through; UsageError for a modality that it does not know."""
        if modality not in self.modalities:
            raise UsageError(
                f"the transform knows no modality {modality!r}; it was fitted for "
                f"{', '.join(self.modalities)}"
            )
        return self.maps.get(modality, self.maps["text"])

    def expect(self, source: StoredArray) -> None:
        """AligngapError for another dimension than it was fitted on."""
        if source.shape[1] != self.dimension:
            raise AligngapError(
                f"{source.given} has {source.shape[1]} dimensions, and the transform was fitted on "
                f"{self.dimension}; expected embeddings of the same model"
            )

    @property
    def width(self) -> int:
        """K, of the rows that it gives."""
        width = self.dimension
        for each in self.maps["text"]:
            width = each.width(width)
        return width

    def about(self) -> dict[str, object]:
        """What it is, without its numbers."""
        return {
            "method": self.method,
            "options": dict(self.options),
            "dimension": self.dimension,
            "dimension_transformed": self.width,
            "fitted_rows": dict(self.fitted),
            "copies": dict(self.copies),
            "source": self.source,
            "licence": self.licence,
        }

    def save(self, folder: str | Path) -> None:
        """FOLDER/transform.json and transform.safetensors, whole or not at all; UsageError where
        something is there already."""
        kinds: dict[type, str] = {kind: name for name, kind in KINDS.items()}
        tensors = {
            f"{modality}.{place}.{name}": array
            for modality, maps in self.maps.items()
            for place, each in enumerate(maps)
            for name, array in each._asdict().items()
        }
        maps = {
            modality: [kinds[type(each)] for each in maps] for modality, maps in self.maps.items()
        }
        stored.save(Path(folder), FORMAT, {**self.about(), "maps": maps}, tensors)

    @classmethod
    def load(cls, folder: str | Path) -> "GapTransform":
        """What `save` has written, to the bit; AligngapError for anything else."""
        record, tensors = stored.load(Path(folder), FORMAT, MAKER)
        try:
            json_text.expect(record, RECORD)
            maps = {
                modality: tuple(
                    KINDS[kind](*(tensors[f"{modality}.{place}.{x}"] for x in KINDS[kind]._fields))
                    for place, kind in enumerate(kinds)
                )
                for modality, kinds in record["maps"].items()
            }
            found = cls(
                record["method"],
                record["options"],
                record["dimension"],
                record["fitted_rows"],
                record["copies"],
                {**maps, "text": maps["text"], "image": maps["image"]},
                record["source"],
                record["licence"],
            )
            for name, each in found.maps.items():
                _fits(name, each, found.dimension, found.width)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise stored.damaged(Path(folder), FORMAT, MAKER) from error
        return found


def _fits(name: str, maps: tuple[Map, ...], before: int, after: int) -> None:
    """ValueError where maps are no modality's, or do not lead from one width to the other."""
    if name not in modalities.OWN and not modalities.is_further(name):
        raise ValueError
    width = before
    for each in maps:
        width = each.width(width)
    if width != after:
        raise ValueError


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UsageError(f"--method={name}: expected one of {', '.join(METHODS)}")
    return METHODS[name]


def _check_further(name: str, method: Method, others: Mapping[str, Given]) -> None:
    if others and not method.further:
        able = ", ".join(each for each in METHODS if METHODS[each].further)
        raise UsageError(
            f"--method={name} takes images, texts and queries alone, not {', '.join(others)}; "
            f"expected one of {able}"
        )


def _distinct(clouds: Clouds, paired: bool) -> dict[str, Rows]:
    together = [[name] for name in clouds]
    if paired:
        items = [name for name in clouds if name != "query"]
        together = [items, *([name] for name in clouds if name not in items)]
    found: dict[str, Rows] = {}
    for names in together:
        found |= dict(zip(names, distinct([clouds[name] for name in names]), strict=True))
    return {name: found[name] for name in clouds}


def _check_shapes(method_name: str, method: Method, clouds: Clouds) -> None:
    """What can be said of clouds before a number of theirs is read."""
    image, text = clouds["image"], clouds["text"]
    for name, rows in clouds.items():
        if rows.width != image.width:
            raise AligngapError(
                f"{image.source.given} has {image.width} dimensions and {rows.source.given} "
                f"{rows.width}; expected embeddings of one model"
            )
        if method.paired and name != "query" and rows.count != text.count:
            raise AligngapError(
                f"--method={method_name} needs pairs, row i of both: {rows.source.given} has "
                f"{rows.count} rows and {text.source.given} {text.count}"
            )


def _check_counts(name: str, method: Method, clouds: Clouds, options: Options) -> None:
    """Whether there are enough rows, and not too many."""
    image = clouds["image"]
    least = method.least(image.width, options)
    for rows in (rows for each, rows in clouds.items() if method.reads(each)):
        if rows.count < least:
            raise AligngapError(
                f"{rows.source.given} has {rows.count} distinct rows; --method={name} needs at "
                f"least {least} of {image.width} dimensions"
            )
        if rows.count > options.get("most", rows.count):
            raise AligngapError(
                f"{rows.source.given} has {rows.count} distinct rows; --method={name} holds as "
                f"many numbers as pairs of them and takes {options['most']:g}: raise --most, or "
                "give a sample"
            )
