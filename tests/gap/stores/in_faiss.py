"""Run by test_stores.py, with FAISS: rankings against NumPy's; what must not be mixed up."""

import numpy as np
import pytest

faiss = pytest.importorskip("faiss")

from aligngap.errors import AligngapError, UsageError  # noqa: E402
from aligngap.gap.stores import faiss as store  # noqa: E402
from aligngap.gap.transforms import rows as rows_of  # noqa: E402


def filled(transform, clouds, documents=None, **options):
    index = store.with_queries(documents or faiss.IndexFlatIP(transform.width), transform)
    store.add(index, transform, "image", clouds[0], **options)
    store.add(index, transform, "text", clouds[1], **options)
    return index


@pytest.mark.parametrize(
    "method",
    ["mean", "standardise", "whiten", "coral", "realign", "principal", "text_principal",
     "procrustes", "ridge"],
)  # fmt: skip
def test_it_ranks_as_numpy_does_also_once_loaded(
    fit, clouds, wanted, same_ranking, method, tmp_path
):
    transform = fit(method)
    index = filled(transform, clouds)
    faiss.write_index(index, str(tmp_path / "index"))
    for some in (index, faiss.read_index(str(tmp_path / "index"))):
        scores, ids = some.search(clouds[2], some.ntotal)
        same_ranking(ids, wanted(transform))
        expected = np.take_along_axis(wanted(transform), ids, axis=1)
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_documents_of_a_further_modality(fit, clouds):
    transform = fit("mean", others={"audio": clouds[1][:, ::-1]})
    index = store.with_queries(faiss.IndexFlatIP(32), transform)
    store.add(index, transform, "audio", clouds[0])
    inside = faiss.downcast_index(index.index).reconstruct_n(0, len(clouds[0]))
    np.testing.assert_array_equal(inside, transform.apply("audio", clouds[0]))


def test_documents_and_queries_must_not_be_mixed_up(fit, clouds, wanted):
    """FAISS transforms as queries whatever is added through the index: raw documents and
    transformed ones end up elsewhere, and other documents come first."""
    transform, (image, text, query) = fit("mean"), clouds
    right = np.argsort(-wanted(transform), axis=1)
    for rows in (
        np.concatenate([image, text]),
        np.concatenate([transform.image(image), transform.text(text)]),
    ):
        index = store.with_queries(faiss.IndexFlatIP(32), transform)
        index.add(rows)
        inside = faiss.downcast_index(index.index).reconstruct_n(0, len(rows))
        np.testing.assert_allclose(inside, transform.query(rows), atol=1e-6)
        ids = index.search(query, 10)[1]
        assert (ids[:, 0] != right[:, 0]).mean() > 0.1
        assert not (ids == right[:, :10]).all(axis=1).any()


def test_the_gap_is_gone_from_the_first_ten(fit, clouds):
    """Of unit rows as they are, a text's neighbours are texts; through the index, images come up
    as often as texts, of which there are as many."""
    rows = np.concatenate(clouds[:2])
    faiss.normalize_L2(rows)
    untouched = faiss.IndexFlatIP(32)
    untouched.add(rows)
    images = len(clouds[0])
    assert (untouched.search(clouds[2], 10)[1] < images).mean() < 0.2
    assert (filled(fit("mean"), clouds).search(clouds[2], 10)[1] < images).mean() > 0.4


def test_ids_of_ones_own(fit, clouds, wanted, monkeypatch):
    """Also when rows are read in several chunks."""
    transform = fit("mean")
    monkeypatch.setattr(rows_of, "GROUPS", 7)
    index = store.with_queries(faiss.IndexIDMap2(faiss.IndexFlatIP(32)), transform)
    store.add(index, transform, "image", clouds[0], ids=np.arange(len(clouds[0])) + 1000)
    store.add(index, transform, "text", clouds[1], ids=np.arange(len(clouds[1])) + 5000)
    first = np.concatenate(
        [np.arange(len(x)) + at for x, at in zip(clouds[:2], (1000, 5000), strict=True)]
    )
    expected = first[np.argsort(-wanted(transform), axis=1)[:, :10]]
    np.testing.assert_array_equal(index.search(clouds[2], 10)[1], expected)


@pytest.mark.parametrize("kind", ["PCAR16,Flat", "IVF4,Flat", "HNSW16"])
def test_around_an_index_that_is_trained_or_has_transforms_of_its_own(fit, clouds, fitted_on, kind):
    """As that index itself does with queries that were transformed before."""
    transform = fit("realign")
    inner = faiss.index_factory(32, kind, faiss.METRIC_INNER_PRODUCT)
    inner.train(np.concatenate([transform.image(fitted_on[0]), transform.text(fitted_on[1])]))
    index = filled(transform, clouds, inner)
    assert index.ntotal == inner.ntotal == len(clouds[0]) + len(clouds[1])
    scores, ids = index.search(clouds[2], 5)
    expected, wanted = inner.search(transform.query(clouds[2]), 5)
    np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_what_does_not_belong_together_is_refused(fit, clouds):
    transform, other = fit("mean"), fit("whiten")
    index = store.with_queries(faiss.IndexFlatIP(32), transform)
    for wrong in (faiss.IndexFlatIP(32), store.with_queries(faiss.IndexFlatIP(32), other),
                  faiss.index_factory(32, "PCAR16,Flat")):  # fmt: skip
        with pytest.raises(UsageError, match="that with_queries made with the same transform"):
            store.add(wrong, transform, "image", clouds[0])
    with pytest.raises(AligngapError, match="holds rows of 16 dimensions, and the transform makes"):
        store.with_queries(faiss.IndexFlatIP(16), transform)
    with pytest.raises(AligngapError, match="not linear in query rows"):
        store.with_queries(faiss.IndexFlatIP(4), fit("spectral", eigenvectors=4))
    with pytest.raises(AligngapError, match="fitted on 32"):
        store.add(index, transform, "image", clouds[0][:, :8])
    with pytest.raises(UsageError, match=r"ids of shape \[2\]; expected one a row, \[40\]"):
        store.add(index, transform, "image", clouds[0], ids=[1, 2])
    for wrong in ("images", "query"):
        with pytest.raises(UsageError, match=f"modality='{wrong}': expected one of image, text"):
            store.add(index, transform, wrong, clouds[0])
    assert index.ntotal == 0


def test_the_page(page, fit, kept, wanted, same_ranking):
    transform = fit("mean")
    transform.save("T")
    names = page("FAISS")
    same_ranking(names["ids"], wanted(transform))


def test_calibrated_scores_of_the_page(page, kept, clouds, same_ranking):
    image, text, query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in clouds)
    index = faiss.IndexFlatIP(32)
    index.add(np.concatenate([image, text]))
    faiss.write_index(index, "untouched.faiss")
    found = page("FAISS with rows that must stay")
    scores = []
    for rows in (image, text):
        cosines = query.astype(np.float64) @ rows.T
        best = cosines.max(axis=1)
        scores.append((cosines - best.mean()) / best.std())
    scores = np.concatenate(scores, axis=1)
    same_ranking(found["ids"], scores)
    best = -np.sort(-scores, axis=1)[:, :10]
    np.testing.assert_allclose(found["scores"], best, atol=1e-4)
    share = (found["ids"] < len(image)).mean(), (index.search(query, 10)[1] < len(image)).mean()
    assert share[0] > 0.4 and share[1] < 0.2
    assert found["index"].ntotal == len(image) + len(text)
