"""Which documents are right for which queries: a table, and the ids beside embeddings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aligngap.data.sources import tables
from aligngap.data.sources.raw import Columns, LeftOut
from aligngap.errors import AligngapError
from aligngap.gap import sources
from aligngap.gap.sources import StoredArray
from aligngap.tasks.mixed_pool import Right

COLUMNS = ("query_id", "corpus_id", "score")
Grades = dict[tuple[str, str], float]


def read(given: str) -> Grades:
    """(query, document) → grade above 0, of a table with a header as MixBench and BEIR have it;
    AligngapError for a row that is none."""
    found: Grades = {}
    for number, row in enumerate(tables.rows(_table(given), Columns()), 2):
        if isinstance(row, LeftOut):
            raise AligngapError(f"{given}: {row}")
        named = {str(name).replace("-", "_"): value for name, value in row.items()}
        missing = [name for name in COLUMNS if name not in named]
        if missing:
            raise AligngapError(
                f"{given} has no column {missing[0]}, but {', '.join(row)}; expected a header of "
                f"{', '.join(COLUMNS)}, between tabs"
            )
        query, document, score = (str(named[name]) for name in COLUMNS)
        grade = _grade(f"{given} line {number}", score)
        if found.setdefault((query, document), grade) != grade:
            raise AligngapError(f"{given} line {number}: {query} and {document} had another score")
    return {pair: grade for pair, grade in found.items() if grade > 0}


def _table(given: str) -> Path:
    if not given.endswith((".tsv", ".csv")):
        raise AligngapError(f"{given}: expected FILE.tsv with {', '.join(COLUMNS)}")
    return Path(given)


def _grade(where: str, score: str) -> float:
    try:
        grade = float(score)
    except ValueError:
        grade = -1.0
    if not 0 <= grade < np.inf:
        raise AligngapError(f"{where}: score {score!r} is no number of at least 0")
    return grade


def ids(source: StoredArray) -> list[str]:
    """Those beside the rows of NAME.npy, in NAME_ids.txt as `aligngap embed` leaves them; where
    there are none, the rows' numbers from 0 on."""
    file = ids_file(source)
    if not file.is_file():
        return [str(row) for row in range(source.shape[0])]
    found = list(sources.lines(file, "ids"))
    sources.expect_each(file, "ids", len(found), source.shape[0], "rows")
    return found


def ids_file(source: StoredArray) -> Path:
    """Where they would be."""
    path = Path(source.given)
    return path.with_name(f"{path.stem}_ids.txt")


def right(
    given: str, grades: Grades, queries: Sequence[str], items: Sequence[str], of: tuple[str, str]
) -> Right:
    """The pairs by rows of queries and items; AligngapError for an id that neither file has, `of`
    naming the two."""
    rows = {name: row for row, name in enumerate(queries)}
    places = {name: row for row, name in enumerate(items)}
    for what, known, wanted, where in (
        ("query", rows, (query for query, _ in grades), of[0]),
        ("document", places, (document for _, document in grades), of[1]),
    ):
        unknown = next((name for name in wanted if name not in known), None)
        if unknown is not None:
            raise AligngapError(
                f"{given}: {what} {unknown!r} is none of the {len(known):,} ids of {where}"
            )
    pairs = sorted((rows[q], places[d], grade) for (q, d), grade in grades.items())
    if not pairs:
        raise AligngapError(f"{given} has no document of a score above 0: nothing is right")
    query, item, grade = zip(*pairs, strict=True)
    return Right(np.array(query), np.array(item), np.array(grade, np.float64))
