"""Run by test_stores.py, with a real PostgreSQL and pgvector: rankings against NumPy's."""

from importlib import metadata

import numpy as np
import pytest

try:
    metadata.version("pgserver")
except metadata.PackageNotFoundError:
    pytest.skip("pgserver has no wheel for this Python", allow_module_level=True)

import psycopg
from pgvector.psycopg import register_vector

from aligngap.errors import AligngapError

import postgres_server

TITLE = "PostgreSQL with pgvector"


@pytest.fixture(scope="module")
def server():
    started = postgres_server.Server()
    yield started
    started.end()


@pytest.fixture
def table(server, clouds, kept, blocks, monkeypatch):
    """A connection to the page's table, where the page's own leads as well: images, then texts,
    with ids from 1 on."""
    monkeypatch.setenv("PGHOST", server.host)
    monkeypatch.setenv("PGUSER", "postgres")
    (create,) = blocks(TITLE, "sql")
    with psycopg.connect("dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(create)
        for modality, rows in zip(("image", "text"), clouds[:2], strict=True):
            for row in rows:
                add(connection, modality, row)
        yield connection


@pytest.fixture
def names():
    """Of the page's code; its connection is closed at the end."""
    held = {}
    yield held
    held["connection"].close()


def add(connection, modality, row):
    connection.execute("INSERT INTO items (modality, embedding) VALUES (%s, %s)", [modality, row])


def test_means_subtracted_in_sql(table, page, names, fit, clouds, wanted, same_ranking):
    transform = fit("mean")
    transform.save("T")
    for title in (TITLE, "Means, in SQL", "Searching PostgreSQL"):
        page(title, names)
    ids = np.array([[id - 1 for id, _ in found] for found in names["found"]])
    same_ranking(ids, wanted(transform))
    scores = np.array([[score for _, score in found] for found in names["found"]])
    expected = np.take_along_axis(wanted(transform), ids, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    # With the embeddings as they are, hardly an image comes up; now they do, as often as texts.
    asked = "SELECT modality FROM items ORDER BY embedding <=> %s LIMIT 10"
    before = [table.execute(asked, [query]).fetchall() for query in clouds[2]]
    share = np.mean([modality == "image" for found in before for (modality,) in found])
    assert share < 0.2 and (ids < len(clouds[0])).mean() > 0.4


def test_only_means_are_done_in_sql(table, page, names, fit):
    fit("whiten").save("T")
    page(TITLE, names)
    with pytest.raises(AligngapError, match="--method=whiten does not merely add"):
        page("Means, in SQL", names)
    assert table.execute("SELECT count(closed) FROM items").fetchone() == (0,)


@pytest.mark.parametrize("method", ["mean", "standardise", "whiten", "realign", "spectral"])
def test_any_method_in_batches(table, page, names, fit, wanted, same_ranking, method):
    transform = fit(method, **({"eigenvectors": 4} if method == "spectral" else {}))
    transform.save("T")
    for title in (TITLE, "Any method, in batches", "Searching PostgreSQL"):
        page(title, names)
    ids = np.array([[id - 1 for id, _ in found] for found in names["found"]])
    same_ranking(ids, wanted(transform))


def test_what_was_stopped_goes_on(table, page, names, fit, clouds, wanted):
    """Batches of 7 until a row that is no embedding; once that is mended, and with a new one."""
    transform = fit("whiten")
    transform.save("T")
    table.execute("UPDATE items SET embedding = array_fill(0, ARRAY[32])::vector WHERE id = 30")
    page(TITLE, names)
    with pytest.raises(AligngapError, match="image: row 29 is zero"):
        page("Any method, in batches", names)  # All in one batch.
    with pytest.raises(AligngapError, match="image: row 1 is zero"):
        names["rewrite"]("image", batch=7)
    assert done(table) == [*range(1, 29)]
    before = table.execute("SELECT id, closed, xmin::text FROM items WHERE id < 29").fetchall()
    table.execute("UPDATE items SET embedding = %s WHERE id = 30", [clouds[0][29]])
    add(table, "image", clouds[0][3])
    names["rewrite"]("image", batch=7)
    images = len(clouds[0])
    assert done(table) == [*range(1, images + 1), images + len(clouds[1]) + 1]
    after = table.execute("SELECT id, closed, xmin::text FROM items WHERE id < 29").fetchall()
    assert sorted(map(str, before)) == sorted(map(str, after))  # Not written a second time.
    rows = table.execute("SELECT closed FROM items WHERE closed IS NOT NULL ORDER BY id").fetchall()
    expected = transform.image(np.concatenate([clouds[0], clouds[0][3:4]]))
    np.testing.assert_allclose([row.to_numpy() for (row,) in rows], expected, atol=1e-6)


def test_its_index_is_used(table, page, names, fit, wanted):
    transform = fit("mean")
    transform.save("T")
    for title in (TITLE, "Means, in SQL", "Searching PostgreSQL"):
        page(title, names)
    names["connection"].execute("SET enable_seqscan = off")
    names["connection"].execute("SET hnsw.ef_search = 200")
    plan = "EXPLAIN SELECT id FROM items ORDER BY closed <=> %s LIMIT 10"
    (row,) = transform.query(np.load("query.npy")[:1])
    said = names["connection"].execute(plan, [row]).fetchall()
    assert any("Index Scan using items_closed_idx" in line for (line,) in said)
    best = np.argsort(-wanted(transform), axis=1)[:, :10]
    found = [[id - 1 for id, _ in names["search"](query)] for query in np.load("query.npy")]
    same = [len({*a} & {*b}) / 10 for a, b in zip(found, best.tolist(), strict=True)]
    assert np.mean(same) > 0.9  # HNSW is approximate.


def done(connection):
    rows = connection.execute("SELECT id FROM items WHERE closed IS NOT NULL ORDER BY id")
    return [id for (id,) in rows.fetchall()]
