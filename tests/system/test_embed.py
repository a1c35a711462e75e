"""`aligngap embed` as a user meets it: its files, killing it, what `gap` makes of them."""

import io
import json
import tarfile

import numpy as np
import pytest

from aligngap import cli
from aligngap.data import corpora
from aligngap.tasks import retrieval

pytestmark = [pytest.mark.system, pytest.mark.corpus]
SPLIT = "pictograms/test_unseen_both"
LARGER = "pictograms/test_unseen_concept"


def arguments(workdir, output, *more):
    return ["embed", f"--workdir={workdir}", f"--output={output}", *map(str, more)]


@pytest.fixture
def embed(finished, tmp_path, capsys):
    """Runs the verb in this process; returns its exit code and its last line, of errors if so."""

    def run(*more, output="out"):
        capsys.readouterr()
        code = cli.main(arguments(finished, tmp_path / output, *more))
        told = capsys.readouterr()
        lines = (told.err if code else told.out).strip().splitlines()
        return code, lines[-1] if lines else ""

    return run


@pytest.fixture(scope="module")
def embedded(program, finished, tmp_path_factory):
    """Both modalities of a split, from one undisturbed command."""
    output = tmp_path_factory.mktemp("embedded")
    done = program.run(*arguments(finished, output, f"--images={SPLIT}", f"--texts={SPLIT}"))
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.usefixtures("evaluated")
def test_evaluates_numbers_follow_from_its_files(embedded, finished):
    image, text = (np.load(embedded / f"{name}.npy") for name in ("image", "text"))
    ids = (embedded / "text_ids.txt").read_text().splitlines()
    assert ids == (embedded / "image_ids.txt").read_text().splitlines()
    concepts = [name.rpartition("/")[2] for name in ids]
    first = {name: concepts.index(name) for name in dict.fromkeys(concepts)}
    labels = np.array([list(first).index(name) for name in concepts])
    found = retrieval.evaluate(
        image, text[list(first.values())], labels, np.arange(len(first)), seed=0
    )
    split = json.loads((finished / "evaluation.json").read_text())["splits"]["test_unseen_both"]
    assert split["num_images"] == len(image)
    assert split["num_captions"] == len(first)
    for name, wanted in split["retrieval"].items():
        for field in ("value", "low", "high"):
            assert getattr(found[name], field) == pytest.approx(wanted[field], abs=1e-9)
    with np.load(finished / "embeddings.npz") as arrays:
        np.testing.assert_array_equal(image, arrays["test_unseen_both/trained/image"])


def test_gap_reads_what_it_writes(embedded, program, tmp_path):
    files = (f"--image={embedded / 'image.npy'}", f"--text={embedded / 'text.npy'}")
    done = program.run("gap", *files, f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "normalised" not in done.stderr
    measures = json.loads((tmp_path / "gap.json").read_text())["measures"]
    image, text = (np.load(embedded / f"{name}.npy") for name in ("image", "text"))
    cosine = (image * text).sum(axis=1).mean()
    assert measures["alignment_score"]["value"] == pytest.approx(cosine, abs=1e-5)


def test_killed_and_started_again_it_ends_as_if_undisturbed(program, start, finished, tmp_path):
    """kill -9 as soon as the first rows are certain; most are still to come."""
    source = f"--images={LARGER}"
    whole = program.run(*arguments(finished, tmp_path / "whole", source))
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / "killed"
    embedding = start(program.command(*arguments(finished, killed, source)))
    embedding.wait_until((killed / ".image.progress.json").exists)
    embedding.kill()
    assert not (killed / "image.npy").exists()
    again = program.run(*arguments(finished, killed, source))
    assert again.returncode == 0, again.stderr
    assert "Continuing" in again.stderr
    for name in ("image.npy", "image_ids.txt"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(killed.glob(".image*"))


@pytest.fixture
def samples(pictograms_dir, tmp_path):
    """A shard of 9 samples, the 4th image cut off; and its images."""
    source = corpora.find("pictograms", pictograms_dir).open("test_unseen_both")
    images = [source[row].image for row in range(9)]
    images[3] = images[3][:-200]
    with tarfile.open(tmp_path / "samples.tar", "w") as archive:
        for row, content in enumerate(images):
            for name, part in ((f"{row}.png", content), (f"{row}.txt", f"text {row}".encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(part)
                archive.addfile(entry, io.BytesIO(part))
    return str(tmp_path / "samples.tar")


def test_a_corrupt_image_is_named_or_skipped_with_its_text(embed, embedded, samples, tmp_path):
    both = (f"--images={samples}", f"--texts={samples}")
    code, line = embed(*both)
    assert code == 1
    assert "samples.tar/3 cannot be decoded" in line
    assert "--skip_corrupt" in line
    assert not (tmp_path / "out" / "image.npy").exists()
    assert embed(*both, "--skip_corrupt")[0] == 0
    wanted = [f"{samples}/{row}" for row in range(9) if row != 3]
    image, text = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("image", "text"))
    assert image.shape == text.shape == (8, 16)
    for name in ("image", "text"):
        assert (tmp_path / "out" / f"{name}_ids.txt").read_text().splitlines() == wanted
    kept = np.delete(np.load(embedded / "image.npy")[:9], 3, axis=0)
    np.testing.assert_allclose(image, kept, atol=1e-5)
    skipped = json.loads((tmp_path / "out" / "image.json").read_text())["skipped_ids"]
    assert skipped[0][0] == f"{samples}/3"
    code, line = embed(*both)
    assert (code, "samples.tar/3 cannot be decoded" in line) == (1, True)
    code, line = embed(f"--images={samples}", "--skip_corrupt")
    assert code == 0 and line.endswith("image.npy: 8 images, 1 skipped, already there")


def test_what_changes_is_refused_and_what_is_done_stays(embed, finished, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog\nun chat\n\n")
    assert embed(f"--texts={texts}")[0] == 0
    first = (tmp_path / "out" / "text.npy").read_bytes()
    assert embed(f"--texts={texts}")[0] == 0
    code, line = embed(f"--texts={texts}", "--step=6")
    assert (code, "text embeddings of another model" in line) == (2, True)
    code, line = embed(f"--texts={texts}", "--dtype=float16")
    assert (code, "another dtype" in line) == (2, True)
    texts.write_text("a dog\nun chien\n\n")
    code, line = embed(f"--texts={texts}")
    assert (code, "another list of texts" in line) == (2, True)
    assert (tmp_path / "out" / "text.npy").read_bytes() == first


def test_bad_input_is_one_line(embed, finished, samples, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"fine\ncaf\xe9\n")
    (tmp_path / "file").write_text("in the way")
    cases = [
        ([], "out", 2, "--images=NAME, --texts=NAME or both"),
        (["--images=nowhere"], "out", 1, "nowhere: no such file or folder"),
        ([f"--images={tmp_path}"], "out", 1, "holds no image"),
        ([f"--texts={tmp_path / 'bad.txt'}"], "out", 1, "bad.txt line 2: byte 0xe9"),
        ([f"--texts={samples}"], "file", 1, "file cannot be written"),
        (["--texts=x", "--step=99"], "out", 1, "no checkpoint of step 99"),
        (["--texts=x", "--dtype=int8"], "out", 2, "--dtype"),
        ([f"--images={tmp_path / 'bad.txt'}"], "out", 1, "bad.txt line 2"),
    ]
    for given, output, expected, words in cases:
        code, line = embed(*given, output=output)
        assert code == expected, line
        assert line.startswith("aligngap: ")
        assert words in line
    assert not (tmp_path / "out").exists()


def test_nothing_is_compiled_twice(finished):
    """Whatever the number of rows, each encoder has one shape."""
    import jax

    import aligngap
    from aligngap.data import eval_set

    model = aligngap.load(finished)
    embedder = model.embedder
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: compiled.append(event)
    )
    try:
        data = eval_set.read(model.config, "test_unseen_both")
        for count in (1, 255, 256, 300):
            embedder.images(model.params, lambda row: data.pixels(row, 32, "crop"), count)
            embedder.texts(model.params, ["a cat"] * count)
    finally:
        jax.monitoring.clear_event_listeners()
    assert compiled.count("/jax/core/compile/backend_compile_duration") == 2
