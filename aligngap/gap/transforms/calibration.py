"""Scores of each modality on one scale, for stores whose rows cannot be rewritten.

It is no method of `GapTransform`: it changes what a query scores with a row, which no change of the
query alone can do.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from aligngap import json_text, modalities
from aligngap.errors import AligngapError, UsageError
from aligngap.gap.streaming import sample
from aligngap.gap.transforms import stored
from aligngap.gap.transforms.rows import Given, Rows, distinct

FORMAT, MAKER = "aligngap score calibration", "`ScoreCalibration.save`"
OVER = ("first", "all")
RECORD = {"over": str, "fitted_rows": {str: int}, "source": str, "licence": str}


@dataclasses.dataclass(frozen=True)
class ScoreCalibration:
    """s' = (s − μ_m) / σ_m of a score s with a row of modality m, queries and rows at length 1.

    μ_m and σ_m are mean and deviation over queries of their best score in m (`over="first"`:
    pseudo-positive calibration, by its abstract), or of all scores (`"all"`).
    """

    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    over: str
    fitted: Mapping[str, int]  # modality, and query → rows that it was fitted on.
    source: str
    licence: str

    @classmethod
    def fit(
        cls,
        image: Given,
        text: Given,
        query: Given,
        over: str = "first",
        *,
        others: Mapping[str, Given] | None = None,
        queries: int = 1000,
        seed: int = 0,
        source: str = "",
        licence: str = "",
    ) -> "ScoreCalibration":
        """On rows of the store, or a sample, `others` further modalities by name; of the queries at
        most `queries`, drawn at random. Equal rows count once."""
        if over not in OVER:
            raise UsageError(f"over={over!r}: expected one of {', '.join(OVER)}")
        modalities.expect_further(others or {})
        given = {"image": image, "text": text, **(others or {})}
        clouds = {name: Rows(rows, name) for name, rows in given.items()}
        asking = Rows(query, "query")
        for rows in clouds.values():
            if rows.width != asking.width:
                raise AligngapError(
                    f"{rows.source.given} has {rows.width} dimensions and {asking.source.given} "
                    f"{asking.width}; expected embeddings of one model"
                )
        if asking.count < 2:
            raise AligngapError(f"{asking.source.given} has 1 row; a deviation needs at least 2")
        (asking,) = distinct([asking])
        if over == "all":  # The best score is that of copies, too.
            clouds = {name: distinct([rows])[0] for name, rows in clouds.items()}
        asked = asking.all()[sample(asking.count, queries, seed)]
        found = {name: _scale(name, rows, asked, over) for name, rows in clouds.items()}
        named = ", ".join(rows.source.title for rows in (*clouds.values(), asking))
        return cls(
            {name: mean for name, (mean, _) in found.items()},
            {name: deviation for name, (_, deviation) in found.items()},
            over,
            {name: rows.count for name, rows in clouds.items()} | {"query": len(asked)},
            source or named,
            licence,
        )

    def image(self, scores: Float[ArrayLike, "*S"]) -> Float[np.ndarray, "*S"]:
        """Scores of queries with images, float32 or float64."""
        return self.apply("image", scores)

    def text(self, scores: Float[ArrayLike, "*S"]) -> Float[np.ndarray, "*S"]:
        """Scores of queries with texts, likewise."""
        return self.apply("text", scores)

    def apply(self, modality: str, scores: Float[ArrayLike, "*S"]) -> Float[np.ndarray, "*S"]:
        """Scores of queries with any modality by its name; UsageError for one that it does not
        know."""
        if modality not in self.mean:
            raise UsageError(
                f"the calibration knows no modality {modality!r}; it was fitted for "
                f"{', '.join(self.mean)}"
            )
        given = np.asarray(scores)
        wide = given.astype(np.result_type(given, np.float32))
        return (wide - self.mean[modality]) / self.deviation[modality]

    def about(self) -> dict[str, object]:
        """What it is, without its numbers."""
        return {
            "over": self.over,
            "fitted_rows": dict(self.fitted),
            "source": self.source,
            "licence": self.licence,
        }

    def save(self, folder: str | Path) -> None:
        """As `GapTransform.save`."""
        tensors = {name: np.array([self.mean[name], self.deviation[name]]) for name in self.mean}
        stored.save(Path(folder), FORMAT, self.about(), tensors)

    @classmethod
    def load(cls, folder: str | Path) -> "ScoreCalibration":
        """What `save` has written, to the bit; AligngapError for anything else."""
        record, tensors = stored.load(Path(folder), FORMAT, MAKER)
        try:
            json_text.expect(record, RECORD)
            names = (
                "image",
                "text",
                *(x for x in record["fitted_rows"] if x not in modalities.OWN),
            )
            scales = {name: [float(x) for x in tensors[name]] for name in names}
            return cls(
                {name: mean for name, (mean, _) in scales.items()},
                {name: deviation for name, (_, deviation) in scales.items()},
                record["over"],
                record["fitted_rows"],
                record["source"],
                record["licence"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise stored.damaged(Path(folder), FORMAT, MAKER) from error


def _scale(
    name: str, rows: Rows, queries: Float[np.ndarray, "Q D"], over: str
) -> tuple[float, float]:
    """(mean, deviation), in one pass over the rows."""
    best = np.full(len(queries), -np.inf)
    count, total, squares = 0, 0.0, 0.0
    for chunk in rows.chunks("Scoring"):
        scores = queries @ chunk.astype(np.float64).T
        best = np.maximum(best, scores.max(axis=1))
        count, total, squares = (
            count + scores.size,
            total + scores.sum(),
            squares + np.sum(scores**2),
        )
    mean, variance = float(total / count), float(squares / count - (total / count) ** 2)
    if over == "first":
        mean, variance = float(best.mean()), float(best.var())
    if not variance > 1e-12:
        raise AligngapError(f"{name}: every query has the same score; nothing to standardise by")
    return mean, float(np.sqrt(variance))
