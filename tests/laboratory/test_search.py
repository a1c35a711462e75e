"""`aligngap gap search`: its file against the task's function, qrels and ids, bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest

from aligngap import cli
from aligngap.tasks import many_modalities, search
from aligngap.tasks.mixed_pool import Right, chunks_of
from aligngap.unit import unit_rows_numpy

import programs


def cloud(rows, seed):
    return unit_rows_numpy(np.random.default_rng(seed).normal(size=(rows, 8))).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """30 items, and a query for each that has something of both."""
    image, text = cloud(30, 0), cloud(30, 1)
    rows = {"image": image, "text": text, "query": unit_rows_numpy(image + 2 * text + cloud(30, 2))}
    for name, x in rows.items():
        np.save(tmp_path / f"{name}.npy", x)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """(flags, files in another place) → (exit code, search.json or the one line of the error)."""

    def called(*more, **files):
        capsys.readouterr()
        named = {name: folder / f"{name}.npy" for name in ("image", "text", "query")} | files
        given = [f"--{name}={path}" for name, path in named.items()]
        code = cli.main(["gap", "search", *given, f"--output={folder / 'out'}", *map(str, more)])
        if code:
            lines = capsys.readouterr().err.strip().splitlines()
            said = [line for line in lines if line.startswith("aligngap: ")]
            assert len(said) == 1, lines
            assert not (folder / "out" / "search.json").exists()
            return code, said[0]
        return code, json.loads((folder / "out" / "search.json").read_text())

    return called


def rows_of(folder):
    return [np.load(folder / f"{name}.npy") for name in ("image", "text", "query")]


def same(found, wanted):
    """A search.json has the values of a search.Found."""
    for name, values in wanted.values.items():
        fused, at = name.startswith("fused/"), "image_share"
        listed = (found["fused"] if fused else found)[name.removeprefix("fused/")]
        assert [row["text_weight" if fused else at] for row in listed] == list(search.GRID)
        for row, value in zip(listed, values.values(), strict=True):
            for key, x in value.as_json().items():
                assert row[key] == pytest.approx(x, abs=1e-6), (name, key)


def test_row_i_of_all_three_is_one_item(folder, run, capsys):
    code, found = run("--seed=3")
    assert code == 0
    image, text, query = rows_of(folder)
    same(found, search.evaluate(chunks_of(image, text), query, Right.own(30), 3))
    assert (found["items"], found["queries"], found["settings"]["seed"]) == (30, 30, 3)
    svg = (folder / "out" / "search.svg").read_text()
    assert "share of items that stand as image" in svg
    assert "ndcg@10" in capsys.readouterr().out


def test_qrels_name_rows_or_the_ids_beside_them(folder, run):
    """Ids as `embed` leaves them; queries without a right item are left out."""
    image, text, query = rows_of(folder)
    np.save(folder / "query.npy", query[:5])
    lines = ["query-id\tcorpus-id\tscore", "3\t7\t1", "3\t9\t2", "0\t0\t1", "1\t4\t0"]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    code, found = run(f"--qrels={folder / 'qrels.tsv'}")
    assert code == 0
    right = Right(np.array([0, 1, 1]), np.array([0, 7, 9]), np.array([1.0, 1.0, 2.0]))
    wanted = search.evaluate(chunks_of(image, text), query[[0, 3]], right, 0)
    same(found, wanted)
    assert (found["queries"], found["settings"]["queries_given"]) == (2, 5)
    # The same items in another order, some of them without an image or without a text.
    for name, kept in (("image", range(29, 1, -1)), ("text", range(28))):
        np.save(folder / f"{name}.npy", {"image": image, "text": text}[name][list(kept)])
        (folder / f"{name}_ids.txt").write_text("".join(f"doc {row}\n" for row in kept))
    (folder / "query_ids.txt").write_text("".join(f"q{row}\n" for row in range(5)))
    lines = ["query_id\tcorpus_id\tscore", "q3\tdoc 7\t1", "q3\tdoc 9\t2", "q0\tdoc 0\t1"]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    code, found = run(f"--qrels={folder / 'qrels.tsv'}")
    assert code == 0
    shown = np.tile([True, False], (30, 1))
    image[:2], shown[:2, 0] = text[:2], False
    text[28:], shown[28:, 1] = image[28:], True
    same(found, search.evaluate(chunks_of(image, text), query[[0, 3]], right, 0, shown))


def test_in_three_modalities(folder, run, capsys):
    """Row i of all files is one item; what is printed, and drawn."""
    image, text, query = rows_of(folder)
    audio = unit_rows_numpy(image + text + cloud(30, 5)).astype(np.float32)
    np.savez(folder / "a.npz", rows=audio, more=text)
    code, found = run(f"--modality=audio:{folder}/a.npz:rows", "--seed=3")
    assert code == 0
    names = ["image", "text", "audio"]
    chunks = chunks_of(image, text, audio)
    wanted = many_modalities.evaluate(chunks, query, Right.own(30), names, 3)
    assert (found["modalities"], found["items"], found["queries"]) == (names, 30, 30)
    assert found["settings"]["modality"] == {"audio": f"{folder}/a.npz:rows"}
    assert found["copies"] == dict.fromkeys([*names, "query"], 0)
    for name, values in wanted.values.items():
        fused, at = name.startswith("fused/"), "shares"
        listed = (found["fused"] if fused else found)[name.removeprefix("fused/")]
        for row, (mixture, value) in zip(listed, values.items(), strict=True):
            of = row["weights" if fused else at]
            assert of == dict(zip(names, mixture, strict=True))
            for key, x in value.as_json().items():
                assert row[key] == pytest.approx(x, abs=1e-6), (name, key)
    said = capsys.readouterr().out
    assert "all evenly" in said and "audio_among_first_10" in said
    evenly = wanted.values["audio_among_first_10"][many_modalities.even(3)].value
    (line,) = (x for x in said.splitlines() if x.startswith("audio_among_first_10"))
    assert f" {evenly:.3f} [" in line
    assert "half image, half audio: ndcg@10" in said
    svg = (folder / "out" / "search.svg").read_text()
    for words in ("image, else audio", "share of items that stand as the first-named"):
        assert words in svg


def test_three_modalities_with_copies_and_qrels(folder, run, capsys):
    image, text, query = rows_of(folder)
    audio = np.repeat(cloud(10, 6), 3, axis=0)
    np.save(folder / "audio.npy", audio)
    flag = f"--modality=audio:{folder}/audio.npy"
    code, found = run(flag)
    assert code == 0 and (found["items"], found["queries"]) == (30, 30)
    assert found["copies"] == {"image": 0, "text": 0, "audio": 20, "query": 0}
    assert "20 audio rows are copies of others: what equals" in capsys.readouterr().out
    own, names = np.arange(30), found["modalities"]
    rows = np.stack([own, 30 + own, 60 + own // 3], axis=1)
    chunks = chunks_of(image, text, audio)
    right = Right(own, own, np.ones(30), rows)
    wanted = many_modalities.evaluate(chunks, query, right, names, 0, own // 3).values["mrr"]
    for row, value in zip(found["mrr"], wanted.values(), strict=True):
        assert row["value"] == pytest.approx(value.value, abs=1e-6)
        assert (row["low"], row["chance"]) == pytest.approx((value.low, value.chance), abs=1e-6)
    lines = ["query_id\tcorpus_id\tscore", "3\t7\t1", "3\t9\t2", "0\t0\t1"]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    code, found = run(flag, f"--qrels={folder / 'qrels.tsv'}")
    assert code == 0 and found["queries"] == 2
    right = Right(np.array([0, 1, 1]), np.array([0, 7, 9]), np.array([1.0, 1.0, 2.0]), rows)
    wanted = many_modalities.evaluate(chunks, query[[0, 3]], right, names, 0).values["ndcg@10"]
    values = [row["value"] for row in found["ndcg@10"]]
    assert values == pytest.approx([x.value for x in wanted.values()], abs=1e-6)


@pytest.mark.parametrize("qrels", [False, True])
def test_items_of_three_modalities_that_are_equal_in_all_count_once(run, folder, qrels):
    image, text, query = rows_of(folder)
    rows = {"image": image, "text": text, "query": query, "audio": cloud(30, 6)}
    np.save(folder / "audio.npy", rows["audio"])
    flag = f"--modality=audio:{folder}/audio.npy"
    wanted = run(flag)[1]
    for name, x in rows.items():
        np.save(folder / f"{name}.npy", np.repeat(x, 2, axis=0))
    more = []
    if qrels:
        pairs = "".join(f"{2 * row + 1}\t{2 * row}\t1\n" for row in range(30))
        (folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + pairs)
        more = [f"--qrels={folder / 'q.tsv'}"]
    code, found = run(flag, *more)
    assert code == 0 and (found["items"], found["queries"]) == (30, 30)
    assert found["copies"] == dict.fromkeys(("image", "text", "audio", "query"), 30)
    for name in ("ndcg@10", "recall@5", "mrr", "audio_among_first_10"):
        assert found[name] == wanted[name], name


def test_of_three_modalities_what_does_not_fit_is_refused(folder, run):
    """Files of other items, too many modalities, names twice or unknown to a transform."""
    for name, rows in (("audio", 30), ("few", 20)):
        np.save(folder / f"{name}.npy", cloud(rows, 6))
    (folder / "qrels.tsv").write_text("query_id\tcorpus_id\tscore\n0\t0\t1\n")
    flag, few = (f"--modality=audio:{folder}/{name}.npy" for name in ("audio", "few"))
    code, line = run(few, f"--qrels={folder / 'qrels.tsv'}")
    assert code == 2 and "few.npy has other ids than" in line
    code, line = run(few)
    assert code == 2 and f"{folder}/text.npy 30 and {folder}/few.npy 20; expected one" in line
    code, line = run(flag, *(f"--modality=m{k}:{folder}/audio.npy" for k in range(3)))
    assert code == 2 and "6 modalities; expected at most 5" in line
    code, line = run(flag, flag)
    assert code == 2 and "--modality=audio was given twice" in line
    made = ["gap", "fit", f"--image={folder}/image.npy", f"--text={folder}/text.npy"]
    assert cli.main([*made, f"--output={folder}/t"]) == 0
    code, line = run(flag, f"--transform={folder}/t")
    assert code == 2 and "knows no modality 'audio'; it was fitted for image, text, query" in line
    assert cli.main([*made, flag, f"--output={folder}/three"]) == 0
    code, found = run(flag, f"--transform={folder}/three")
    assert code == 0 and found["transform"]["fitted_rows"]["audio"] == 30


def test_beyond_the_most_queries_a_sample_is_taken(run):
    code, found = run("--queries=10")
    assert (code, found["queries"], found["settings"]["queries_given"]) == (0, 10, 30)


def test_bad_input_is_one_line(folder, run):
    np.save(folder / "short.npy", cloud(7, 0))
    np.save(folder / "wide.npy", np.ones((30, 9), np.float32))
    np.save(folder / "one.npy", np.ones((30, 8), np.float32))
    broken = cloud(30, 0)
    broken[4, 2] = np.inf
    np.save(folder / "broken.npy", broken)
    head = "query_id\tcorpus_id\tscore\n"
    tables = {
        "columns": "query_id\tdocument\tscore\n0\t0\t1\n",
        "score": head + "0\t0\tgood\n",
        "negative": head + "0\t0\t1\n1\t1\t-1\n",
        "query": head + "0\t0\t1\n99\t0\t1\n",
        "document": head + "0\t0\t1\n1\tdoc\t1\n",
        "twice": head + "0\t0\t1\n0\t0\t2\n",
        "ragged": head + "0\t0\n",
        "nothing": head + "0\t0\t0\n",
    }
    for name, content in tables.items():
        (folder / f"{name}.tsv").write_text(content)
    (folder / "x.tsv").write_text(head + "0\t0\t1\n")
    cases = [
        ([], {"query": folder / "short.npy"}, 2, "short.npy has 7 rows, ", "--qrels=FILE.tsv"),
        ([], {"query": folder / "wide.npy"}, 1, "30 dimensions"[3:], "wide.npy 9"),
        ([], {"text": folder / "broken.npy"}, 1, "broken.npy: row 4 is not finite", ""),
        ([], {"text": folder / "none.npy"}, 1, "none.npy", ""),
        (
            [],
            {"image": folder / "one.npy", "text": folder / "one.npy"},
            1,
            "all rows are one item",
            "at least two",
        ),
        (["--queries=0"], {}, 2, "--queries", ""),
        (["--seed=-1"], {}, 2, "--seed=-1", ""),
        (["--qrels=columns"], {}, 1, "has no column corpus_id", "document"),
        (["--qrels=score"], {}, 1, "score.tsv line 2: score 'good'", ""),
        (["--qrels=negative"], {}, 1, "negative.tsv line 3: score '-1'", ""),
        (["--qrels=query"], {}, 1, "query '99' is none of the 30 ids of", "query.npy"),
        (["--qrels=document"], {}, 1, "document 'doc' is none of the 30 ids of", "image.npy"),
        (["--qrels=twice"], {}, 1, "twice.tsv line 3", "another score"),
        (["--qrels=ragged"], {}, 1, "ragged.tsv", "line 2"),
        (["--qrels=nothing"], {}, 1, "nothing is right", ""),
        (["--qrels=gone"], {}, 1, "gone.tsv", ""),
        (["--qrels=x"], {"text": folder / "short.npy"}, 1, "which belong together", "_ids.txt"),
    ]
    for more, files, expected, *words in cases:
        given = [f"{x.replace('=', f'={folder}/')}.tsv" if "qrels" in x else x for x in more]
        code, line = run(*given, **files)
        assert code == expected, line
        for word in words:
            assert word in line, line
    (folder / "image_ids.txt").write_text("one\n")
    code, line = run(f"--qrels={folder}/x.tsv")
    assert (code, "image_ids.txt holds 1 ids for 30 rows" in line) == (1, True), line


PEAKS = (
    programs.PEAK
    + """
import sys
from aligngap.cli import main
for folder in sys.argv[1:]:
    given = [f"--{name}={folder}/{name}.npy" for name in ("image", "text", "query")]
    assert main(["gap", "search", *given, f"--qrels={folder}/q.tsv", f"--output={folder}"]) == 0
    print("peak", peak())
"""
)


def test_items_are_never_held_at_once(tmp_path):
    """The peak of memory grows by less than the files: 200 MiB of items."""
    for folder, count in (("few", 1000), ("many", 100_000)):
        (tmp_path / folder).mkdir()
        for name in ("image", "text"):
            rows = np.random.default_rng(0).random((count, 256), np.float32)
            np.save(tmp_path / folder / f"{name}.npy", rows)
        np.save(tmp_path / folder / "query.npy", rows[:20])
        pairs = "".join(f"{row}\t{row}\t1\n" for row in range(20))
        (tmp_path / folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + pairs)
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "few"), str(tmp_path / "many")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = (int(line.split()[1]) for line in done.stdout.splitlines() if "peak" in line)
    assert many - few < 130


def test_items_that_share_a_text_stay_items(run, folder, capsys):
    """30 images of 3 class names: a copy of the right text is no distractor, other items are."""
    image, text, query = rows_of(folder)
    own = np.arange(30) % 3
    np.save(folder / "names.npy", text[own])
    code, found = run(text=folder / "names.npy")
    assert code == 0 and found["items"] == 30 and found["queries"] == 30
    assert found["copies"] == {"image": 0, "text": 27, "query": 0}
    assert "27 text rows are copies of others" in capsys.readouterr().out
    rows = np.stack([np.arange(30), 30 + own], axis=1)
    right = Right(np.arange(30), np.arange(30), np.ones(30), rows)
    same(found, search.evaluate(chunks_of(image, text[own]), query, right, 0, clusters=own))
    # Among texts alone each wrong name that is nearer stands there ten times.
    scores = query @ text[:3].T
    nearer = (scores > scores[np.arange(30), own][:, None]).sum(axis=1)
    assert found["mrr"][0]["value"] == pytest.approx((1 / (1 + 10 * nearer)).mean())
    # Among images alone nothing is shared: as if the texts were unlike.
    alone = search.evaluate(chunks_of(image, text), query, Right.own(30), 0)
    assert found["ndcg@10"][-1]["value"] == pytest.approx(alone.values["ndcg@10"][1.0].value)


@pytest.mark.parametrize("qrels", [False, True])
def test_items_and_queries_that_stand_there_three_times_count_once(run, folder, qrels):
    """In files whose rows belong together, and by ids of which each copy has its own."""
    image, text, query = rows_of(folder)
    wanted = run()[1]
    for name, rows in (("image", image), ("text", text), ("query", query)):
        np.save(folder / f"{name}.npy", np.repeat(rows, 3, axis=0))
    more = []
    if qrels:  # Of an item's copies one is right for one query's copy.
        pairs = [f"{3 * row + 1}\t{3 * row + row % 3}\t1\n" for row in range(30)]
        (folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + "".join(pairs))
        more = [f"--qrels={folder / 'q.tsv'}"]
    code, found = run(*more)
    assert code == 0 and (found["items"], found["queries"]) == (30, 30)
    assert found["copies"] == dict.fromkeys(("image", "text", "query"), 60)
    for name in ("ndcg@10", "recall@5", "mrr", "images_among_first_10"):
        assert found[name] == wanted[name], name


def test_one_query_of_several_items_asks_for_all_of_them(run, folder):
    """As a table of what is right has it."""
    query = rows_of(folder)[2]
    np.save(folder / "asked.npy", query[np.arange(30) // 3])
    found = run(query=folder / "asked.npy")[1]
    assert (found["items"], found["queries"], found["copies"]["query"]) == (30, 10, 20)
    np.save(folder / "query.npy", query[:10])
    pairs = "".join(f"{row // 3}\t{row}\t1\n" for row in range(30))
    (folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + pairs)
    wanted = run(f"--qrels={folder / 'q.tsv'}")[1]
    for name in ("ndcg@10", "recall@5", "mrr"):
        assert found[name] == wanted[name], name


def test_ids_of_one_modality_share_rows_too(run, folder):
    """A document that qrels do not name but whose text is that of a right one: left out."""
    image, text, query = rows_of(folder)
    np.save(folder / "image.npy", image[:20])
    text[25] = text[3]
    np.save(folder / "text.npy", text)
    for name, count in (("image", 20), ("text", 30), ("query", 30)):
        (folder / f"{name}_ids.txt").write_text("".join(f"{row}\n" for row in range(count)))
    pairs = "".join(f"{row}\t{row}\t1\n" for row in range(20))
    (folder / "q.tsv").write_text("query_id\tcorpus_id\tscore\n" + pairs)
    code, found = run(f"--qrels={folder / 'q.tsv'}")
    assert code == 0 and found["items"] == 30
    assert found["copies"] == {"image": 0, "text": 1, "query": 0}
    places = [
        1 + (np.delete(text, [row, 25] if row == 3 else row, axis=0) @ query[row]
             > text[row] @ query[row]).sum() for row in range(20)
    ]  # fmt: skip
    assert found["mrr"][0]["value"] == pytest.approx((1 / np.array(places)).mean())
