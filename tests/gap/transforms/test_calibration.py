"""Scores standardised by modality, against NumPy; saved and loaded; bad input."""

import numpy as np
import pytest

from aligngap.errors import AligngapError, UsageError
from aligngap.gap import GapTransform, ScoreCalibration
from aligngap.gap.transforms import rows as rows_of


def n(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("over", ["first", "all"])
def test_by_its_formula(clouds, others, over, monkeypatch):
    monkeypatch.setattr(rows_of, "GROUPS", 16)
    found = ScoreCalibration.fit(*clouds, over)
    image, text, query = (n(x) for x in clouds)
    for rows, change in ((image, found.image), (text, found.text)):
        scores = query @ rows.T
        base = scores.max(axis=1) if over == "first" else scores
        new = n(others[2]) @ rows.T
        np.testing.assert_allclose(change(new), (new - base.mean()) / base.std(), atol=1e-4)
    assert found.image(np.float16(0.5)).dtype == np.float32


def test_scores_of_both_modalities_come_to_one_scale(clouds, others):
    """Texts score higher by the gap alone; calibrated, both have their share of first places."""
    near_texts = -2 * np.eye(8)[0]
    image, text, query, new = map(n, (*clouds[:2], clouds[2] + near_texts, others[2] + near_texts))
    scores = new @ image.T, new @ text.T

    def share(images, texts):
        return (images.max(axis=1) > texts.max(axis=1)).mean()

    assert share(*scores) < 0.1
    found = ScoreCalibration.fit(image, text, query)
    assert 0.25 < share(found.image(scores[0]), found.text(scores[1])) < 0.75


def test_further_modalities_by_their_names(clouds, others, tmp_path):
    _, text, query = clouds
    audio = text[:40, ::-1]
    found = ScoreCalibration.fit(*clouds, others={"audio": audio})
    scores, best = n(others[2]) @ n(audio).T, (n(query) @ n(audio).T).max(axis=1)
    np.testing.assert_allclose(
        found.apply("audio", scores), (scores - best.mean()) / best.std(), atol=1e-4
    )
    plain = ScoreCalibration.fit(*clouds)
    np.testing.assert_array_equal(found.apply("image", scores), plain.image(scores))
    found.save(tmp_path / "c")
    assert ScoreCalibration.load(tmp_path / "c") == found
    with pytest.raises(UsageError, match=r"knows no modality 'video'; .* image, text, audio"):
        found.apply("video", scores)
    with pytest.raises(UsageError, match="modality 'query': expected a name"):
        ScoreCalibration.fit(*clouds, others={"query": audio})


def test_a_sample_of_the_queries_is_taken(clouds):
    found = [ScoreCalibration.fit(*clouds, queries=20, seed=seed) for seed in (0, 0, 1)]
    assert found[0].fitted == {"image": 60, "text": 60, "query": 20}
    assert found[0] == found[1] and found[0] != found[2]


def test_saved_and_loaded_it_does_the_same_to_the_bit(clouds, tmp_path):
    found = ScoreCalibration.fit(*clouds, source="two cones", licence="CC0-1.0")
    found.save(tmp_path / "c")
    assert ScoreCalibration.load(tmp_path / "c") == found
    with pytest.raises(AligngapError, match="no aligngap gap transform"):
        GapTransform.load(tmp_path / "c")
    GapTransform.fit(*clouds[:2]).save(tmp_path / "t")
    with pytest.raises(AligngapError, match="no aligngap score calibration"):
        ScoreCalibration.load(tmp_path / "t")


def test_bad_input_is_one_line(clouds):
    image, text, query = clouds
    with pytest.raises(UsageError, match="over='best': expected one of first, all"):
        ScoreCalibration.fit(*clouds, "best")
    with pytest.raises(AligngapError, match="image has 7 dimensions and query 8"):
        ScoreCalibration.fit(image[:, :7], text, query)
    with pytest.raises(AligngapError, match="query has 1 row"):
        ScoreCalibration.fit(image, text, query[:1])
    with pytest.raises(AligngapError, match="image: every query has the same score"):
        ScoreCalibration.fit(image, text, np.repeat(query[:1], 5, axis=0))
    text[3] = 0
    with pytest.raises(AligngapError, match="text: row 3 is zero"):
        ScoreCalibration.fit(*clouds)
