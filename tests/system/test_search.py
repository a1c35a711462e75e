"""Mixed search from MixBench's folders, and of a run: through the verbs, with a trained model."""

import json
import shutil

import numpy as np
import pytest

import aligngap
from aligngap import cli
from aligngap.data import corpora
from aligngap.evaluation.search import asked
from aligngap.tasks import search
from aligngap.tasks.mixed_pool import Right, chunks_of

pytestmark = [pytest.mark.system, pytest.mark.corpus]
SPLIT = "test_unseen_both"
ITEMS = 24


@pytest.fixture(scope="module")
def items(pictograms_dir):
    """(image, query, text) of real pictograms."""
    source = corpora.find("pictograms", pictograms_dir).open(SPLIT)
    records = [source[row] for row in range(40)]
    found = [(record.image, asked(record, True)) for record in records]
    return [(image, *texts) for image, texts in found if texts][:ITEMS]


@pytest.fixture
def mixbench(items, tmp_path):
    """A folder as MixBench publishes them; of mixed_corpus every third row is a text, an image,
    both; the first query has two right documents."""
    folder = tmp_path / "MSCOCO"
    (folder / "images").mkdir(parents=True)
    (folder / "qrels").mkdir()
    queries, corpus, mixed, qrels = [], [], [], ["query_id\tcorpus_id\tscore", "q0\td1\t1"]
    for row, (image, query, text) in enumerate(items):
        (folder / "images" / f"{row}.png").write_bytes(image)
        document = {"corpus_id": f"d{row}", "text": text, "image": f"images/{row}.png"}
        lacking = ("image", "text", "")[row % 3]
        queries.append({"query_id": f"q{row}", "text": query, "image": ""})
        corpus.append(document)
        mixed.append(document | ({lacking: ""} if lacking else {}))
        qrels.append(f"q{row}\td{row}\t{2 if row == 0 else 1}")
    for name, rows in (("queries", queries), ("corpus", corpus), ("mixed_corpus", mixed)):
        lines = "".join(json.dumps(line) + "\n" for line in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    (folder / "qrels" / "qrels.tsv").write_text("\n".join(qrels) + "\n")
    return folder


@pytest.fixture
def searched(finished, mixbench, tmp_path):
    """(name of a corpus) → search.json, from the folder's files by `embed` and `gap search`."""

    def run(name):
        out = tmp_path / name
        file = mixbench / f"{name}.jsonl"
        embed = ["embed", f"--workdir={finished}"]
        assert cli.main([*embed, f"--images={file}", f"--texts={file}", f"--output={out}"]) == 0
        asking = [f"--texts={mixbench / 'queries.jsonl'}", f"--output={out / 'queries'}"]
        assert cli.main([*embed, *asking]) == 0
        given = [f"--{kind}={out / kind}.npy" for kind in ("image", "text")]
        given += [f"--query={out / 'queries' / 'text.npy'}"]
        given += [f"--qrels={mixbench / 'qrels' / 'qrels.tsv'}", f"--output={out}"]
        assert cli.main(["gap", "search", *given]) == 0
        return json.loads((out / "search.json").read_text())

    return run


def test_from_mixbenchs_folder_to_search_json(searched, finished, items):
    model = aligngap.load(finished)
    pictures, queries, texts = zip(*items, strict=True)
    import io

    from PIL import Image

    image = model.encode_image([Image.open(io.BytesIO(content)) for content in pictures])
    text, query = model.encode_text(list(texts)), model.encode_text(list(queries))
    right = Right(
        np.array([0, *range(ITEMS)]), np.array([0, 1, *range(1, ITEMS)]),
        np.array([2.0, 1.0, *[1.0] * (ITEMS - 1)]),
    )  # fmt: skip
    wanted = search.evaluate(chunks_of(image, text), query, right, 0)
    found = searched("corpus")
    for name in ("ndcg@10", "recall@5", "mrr", search.IMAGES):
        values = [row["value"] for row in found[name]]
        assert values == pytest.approx(
            [value.value for value in wanted.values[name].values()], abs=1e-3
        ), name
    assert (found["items"], found["queries"]) == (ITEMS, ITEMS)
    # As it was mixed: rows that are one modality stand as that, those of both are fused evenly.
    kinds = np.arange(ITEMS) % 3
    pool = np.where(kinds[:, None] == 0, text, np.where(kinds[:, None] == 1, image, text + image))
    pool = pool / np.linalg.norm(pool, axis=1, keepdims=True)
    wanted = search.evaluate(chunks_of(pool, pool), query, right, 0).values["ndcg@10"][0.5].value
    mixed = searched("mixed_corpus")["fused"]["ndcg@10"]
    (even,) = (row["value"] for row in mixed if row["text_weight"] == 0.5)
    assert even == pytest.approx(wanted, abs=1e-3)


def test_a_missing_image_is_one_line(finished, mixbench, tmp_path, capsys):
    (mixbench / "images" / "3.png").unlink()
    given = [f"--images={mixbench / 'corpus.jsonl'}", f"--output={tmp_path / 'out'}"]
    assert cli.main(["embed", f"--workdir={finished}", *given]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("aligngap: ") and "3.png cannot be read" in line
    assert not (tmp_path / "out" / "image.npy").exists()


@pytest.mark.usefixtures("evaluated")
def test_evaluate_measures_it(finished, pictograms_dir):
    """Quickstart's config does; one item a group, and what chance would reach."""
    source = corpora.find("pictograms", pictograms_dir).open(SPLIT)
    records = [source[row] for row in range(len(source))]
    count = len({record.group for record in records if asked(record, True)})
    found = json.loads((finished / "evaluation.json").read_text())["splits"][SPLIT]["search"]
    for share in (0, 0.5, 1):
        value = found["recall@1"][f"p{share:g}"]
        assert value["chance"] == pytest.approx(1 / count, abs=1e-9)
        assert value["low"] <= value["value"] <= value["high"]
        assert found["ndcg@10"][f"p{share:g}"]["value"] > 0
    assert set(found["fused"]) == {"ndcg@10", "recall@1", "recall@5", "recall@10", "mrr"}
    with np.load(finished / "embeddings.npz") as arrays:  # By which `--compare` pairs runs.
        kept = arrays[f"{SPLIT}/scores/search/ndcg@10/p0.5"]
        image, text, query = (arrays[f"{SPLIT}/search/{name}"] for name in ("image", "text",
                                                                            "query"))  # fmt: skip
    assert len(kept) == count
    again = search.measure(chunks_of(image, text), query, Right.own(count)).at("ndcg@10", 0.5)
    np.testing.assert_allclose(kept, again.items, atol=1e-6)
    assert kept.mean() == pytest.approx(found["ndcg@10"]["p0.5"]["value"], abs=1e-6)


@pytest.mark.usefixtures("evaluated")
def test_where_texts_are_few_it_says_so(finished, program, tmp_path):
    """A corpus with a caption an image, and nothing else that could ask for it."""
    run = shutil.copytree(finished, tmp_path / "run")
    source = corpora.find("pictograms", program.data_dir).open(SPLIT)
    for row in range(8):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / f"{row}.png").write_bytes(source[row].image)
        (tmp_path / "mine" / f"{row}.txt").write_text(source[row].captions[0])
    data = f"--data_dir={tmp_path / 'data'}"
    made = program.run("prepare", f"--source={tmp_path / 'mine'}", "--name=mine", data)
    assert made.returncode == 0, made.stderr
    done = program.run(
        "evaluate",
        f"--workdir={run}",
        data,
        "--config.data.corpus=mine",
        "--config.data.test_splits=('train',)",
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is searched in train: it takes 2 items" in done.stderr
    found = json.loads((run / "evaluation.json").read_text())["splits"]["train"]
    assert found["search"] == {}
    assert found["retrieval"]
