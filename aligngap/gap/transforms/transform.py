"""A way to close the gap, fitted once and applied anywhere."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aligngap.errors import AligngapError, UsageError
from aligngap.gap.sources import StoredArray
from aligngap.gap.transforms import stored
from aligngap.gap.transforms.maps import KINDS, Map, through
from aligngap.gap.transforms.methods import METHODS
from aligngap.gap.transforms.methods.contract import Clouds, Method, Options
from aligngap.gap.transforms.methods.options import settled
from aligngap.gap.transforms.rows import Given, Rows, distinct

FORMAT, MAKER = "aligngap gap transform", "`aligngap gap fit --output=DIR`"


@dataclasses.dataclass(frozen=True)
class GapTransform:
    """Rows of each modality → rows without a gap, L2-normalised float32.

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
        source: str = "",
        licence: str = "",
        **options: float,
    ) -> "GapTransform":
        """Fitted on rows [N, D], [M, D], [Q, D], in passes over chunks of them; row i of image and
        text are a pair only to `procrustes` and `ridge`. Without `query`, queries are treated as
        texts. Equal rows count once (to those two, pairs equal in both).

        Methods and their options: `methods/`. UsageError for others, AligngapError for rows that
        are no embeddings, differ in D, or are too few.
        """
        chosen = _method(method)
        given = {"image": image, "text": text} | ({} if query is None else {"query": query})
        clouds = {name: Rows(rows, name) for name, rows in given.items()}
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
        """Rows of a modality by its name."""
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
        maps = self.maps.get(modality, self.maps["text"])
        return through(maps, rows, start, name).astype(np.float32)

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
            maps = {
                modality: tuple(
                    KINDS[kind](*(tensors[f"{modality}.{place}.{x}"] for x in KINDS[kind]._fields))
                    for place, kind in enumerate(kinds)
                )
                for modality, kinds in record["maps"].items()
            }
            found = cls(
                str(record["method"]),
                dict(record["options"]),
                int(record["dimension"]),
                dict(record["fitted_rows"]),
                dict(record["copies"]),
                {**maps, "text": maps["text"], "image": maps["image"]},
                str(record["source"]),
                str(record["licence"]),
            )
            for each in found.maps.values():
                _fits(each, found.dimension, found.width)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise stored.damaged(Path(folder), FORMAT, MAKER) from error
        return found


def _fits(maps: tuple[Map, ...], before: int, after: int) -> None:
    """ValueError where maps do not lead from one width to the other."""
    width = before
    for each in maps:
        width = each.width(width)
    if width != after:
        raise ValueError


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UsageError(f"--method={name}: expected one of {', '.join(METHODS)}")
    return METHODS[name]


def _distinct(clouds: Clouds, paired: bool) -> dict[str, Rows]:
    together = [("image", "text"), ("query",)] if paired else [(name,) for name in clouds]
    found: dict[str, Rows] = {}
    for names in together:
        if names[0] in clouds:
            found |= dict(zip(names, distinct([clouds[name] for name in names]), strict=True))
    return found


def _check_shapes(name: str, method: Method, clouds: Clouds) -> None:
    """What can be said of clouds before a number of theirs is read."""
    image, text = clouds["image"], clouds["text"]
    for rows in clouds.values():
        if rows.width != image.width:
            raise AligngapError(
                f"{image.source.given} has {image.width} dimensions and {rows.source.given} "
                f"{rows.width}; expected embeddings of one model"
            )
    if method.paired and image.count != text.count:
        raise AligngapError(
            f"--method={name} needs pairs, row i of both: {image.source.given} has {image.count} "
            f"rows and {text.source.given} {text.count}"
        )


def _check_counts(name: str, method: Method, clouds: Clouds, options: Options) -> None:
    """Whether there are enough rows, and not too many."""
    image = clouds["image"]
    least = method.least(image.width, options)
    for rows in (clouds[each] for each in method.reads if each in clouds):
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
