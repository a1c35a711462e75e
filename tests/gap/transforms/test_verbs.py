"""`aligngap gap fit`, `apply`, `search --transform`: files in, files out, one line for mistakes."""

import json

import numpy as np
import pytest

from aligngap import cli
from aligngap.gap import GapTransform
from aligngap.tasks import search
from aligngap.tasks.mixed_pool import Right, chunks_of

NAMES = ("image", "text", "query")


@pytest.fixture
def folder(clouds, others, tmp_path):
    """One half to fit on, the other to be judged on."""
    for half, rows in (("fit", clouds), ("new", others)):
        (tmp_path / half).mkdir()
        for name, x in zip(NAMES, rows, strict=True):
            np.save(tmp_path / half / f"{name}.npy", x.astype(np.float32))
    return tmp_path


def given(folder, *names):
    return [f"--{name}={folder / name}.npy" for name in names]


def fit(folder, *more):
    return cli.main(["gap", "fit", *given(folder / "fit", *NAMES), f"--output={folder}/t", *more])


def apply(folder, name, *more):
    named = [f"--transform={folder}/t", f"--output={folder}/{name}.npy", *more]
    return cli.main(["gap", "apply", *given(folder / "new", name), *named])


def test_as_python_does_it(folder, clouds, others, capsys):
    assert fit(folder, "--method=principal", "--components=2", "--licence=CC0-1.0") == 0
    said = capsys.readouterr()
    assert "principal fitted on 60 image rows, 60 text rows, 60 query rows" in said.out
    assert "Measuring image.npy" in said.err
    image, text, query = (x.astype(np.float32) for x in clouds)
    wanted = GapTransform.fit(image, text, "principal", query, components=2)
    loaded = GapTransform.load(folder / "t")
    assert (loaded.licence, loaded.source) == ("CC0-1.0", "image.npy, text.npy, query.npy")
    for name, rows in zip(NAMES, others, strict=True):
        assert apply(folder, name) == 0
        found = np.load(folder / f"{name}.npy")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted.apply(name, rows.astype(np.float32)))


def test_further_modalities_as_python_does_it(folder, clouds, others, capsys):
    audio, video = clouds[0][:40, ::-1], clouds[1][:, ::-1].astype(np.float16)
    np.save(folder / "audio.npy", audio)
    np.savez(folder / "v.npz", rows=video, more=audio)
    more = [f"--modality=audio:{folder}/audio.npy", f"--modality=video-1:{folder}/v.npz:rows"]
    assert fit(folder, *more) == 0
    said = capsys.readouterr().out
    assert "60 query rows, 40 audio rows, 60 video-1 rows" in said
    image, text, query = (x.astype(np.float32) for x in clouds)
    further = {"audio": audio, "video-1": video}
    wanted = GapTransform.fit(image, text, "mean", query, others=further)
    rows = others[0].astype(np.float32)
    for name in further:
        file = folder / f"{name}.out.npy"
        given = [f"--modality={name}:{folder}/new/image.npy", f"--output={file}"]
        assert cli.main(["gap", "apply", f"--transform={folder}/t", *given]) == 0
        assert "25 rows" not in said and f"25 {name} rows of 8, mean" in capsys.readouterr().out
        np.testing.assert_array_equal(np.load(file), wanted.apply(name, rows))
    to = ["gap", "apply", f"--transform={folder}/t", f"--output={folder}/out.npy"]
    for flag, words in (
        (f"sound:{folder}/audio.npy", "no modality 'sound'; it was fitted for image, text, query"),
        (f"image:{folder}/audio.npy", "modality 'image': expected a name of letters"),
        ("audio", "'audio' is not NAME:FILE"),
        ("audio:", "'audio:' is not NAME:FILE"),
    ):
        assert cli.main([*to, f"--modality={flag}"]) == 2
        assert words in capsys.readouterr().err
    assert cli.main([*to, f"--modality=audio:{folder}/no.npy"]) == 1
    assert not (folder / "out.npy").exists()
    (folder / "t").rename(folder / "first")
    for twice, words in (
        ([more[0], more[0]], "--modality=audio was given twice"),
        ([*more, "--method=spectral"], "alone, not audio, video-1; expected one of mean"),
    ):
        assert fit(folder, *twice) == 2
        assert words in capsys.readouterr().err
    assert not (folder / "t").exists()


def test_search_through_a_transform_is_search_of_what_apply_wrote(folder):
    assert fit(folder) == 0
    rows = []
    for name in NAMES:
        assert apply(folder, name) == 0
        rows.append(np.load(folder / f"{name}.npy"))
    wanted = search.evaluate(chunks_of(*rows[:2]), rows[2], Right.own(25), 0).values
    searched = ["gap", "search", *given(folder / "new", *NAMES)]

    def found(*more):
        assert cli.main([*searched, f"--output={folder}/out", *more]) == 0
        record = json.loads((folder / "out" / "search.json").read_text())
        return record, [row["value"] for row in record["ndcg@10"]]

    record, values = found(f"--transform={folder}/t")
    assert values == pytest.approx([x.value for x in wanted["ndcg@10"].values()], abs=1e-5)
    assert record["transform"]["method"] == "mean"
    assert record["transform"]["fitted_rows"] == {"image": 60, "text": 60, "query": 60}
    plain, before = found()
    assert plain["transform"] is None
    assert before != pytest.approx(values, abs=0.02)
    # The same by ids, where files hold other numbers of items.
    lines = "".join(f"{row}\t{row}\t1\n" for row in range(25))
    (folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + lines)
    for name, kept in (("image", 25), ("text", 24)):
        np.save(folder / "new" / f"{name}.npy", np.load(folder / "new" / f"{name}.npy")[:kept])
        ids = "".join(f"{row}\n" for row in range(kept))
        (folder / "new" / f"{name}_ids.txt").write_text(ids)
    rows[1][24] = rows[0][24]
    shown = np.array([[True, False]] * 24 + [[True, True]])
    wanted = search.evaluate(chunks_of(*rows[:2]), rows[2], Right.own(25), 0, shown).values
    values = found(f"--transform={folder}/t", f"--qrels={folder}/q.tsv")[1]
    assert values == pytest.approx([x.value for x in wanted["ndcg@10"].values()], abs=1e-5)


def test_mistakes_are_one_line_and_leave_nothing(folder, capsys):
    def refused(code, words, act):
        before = sorted(folder.rglob("*"))
        capsys.readouterr()
        assert act() == code
        lines = capsys.readouterr().err.splitlines()
        said = [line for line in lines if line.startswith("aligngap: ")]
        assert len(said) == 1 and words in said[0], lines
        assert sorted(folder.rglob("*")) == before

    refused(2, "--method=median: expected one of", lambda: fit(folder, "--method=median"))
    refused(2, "--components", lambda: fit(folder, "--components=2"))
    refused(2, "--most", lambda: fit(folder, "--method=spectral", "--most=0"))
    refused(1, "none.npy", lambda: fit(folder, f"--image={folder}/none.npy"))
    refused(1, "holds no aligngap gap transform", lambda: apply(folder, "image"))
    assert fit(folder) == 0
    refused(2, "there already", lambda: fit(folder))
    refused(2, "expected FILE.npy", lambda: apply(folder, "text", f"--output={folder}/x.bin"))
    read = folder / "new" / "text.npy"
    refused(2, "would be overwritten", lambda: apply(folder, "text", f"--output={read}"))
    wide, broken = np.ones((25, 9), np.float32), np.load(read)
    broken[-1] = 0
    np.save(folder / "wide.npy", wide)
    np.save(folder / "broken.npy", broken)
    to = ["gap", "apply", f"--transform={folder}/t", f"--output={folder}/out.npy"]
    for name, words in (("wide", "wide.npy has 9 dimensions"), ("broken", "row 24 is zero")):
        refused(1, words, lambda name=name: cli.main([*to, f"--text={folder}/{name}.npy"]))
    asked = ["gap", "search", *given(folder / "new", "image", "query"), f"--output={folder}/s"]
    refused(2, "required", lambda: cli.main(to))
    through = [f"--text={folder}/new/text.npy", f"--transform={folder}/none"]
    refused(1, "holds no aligngap gap transform", lambda: cli.main([*asked, *through]))
