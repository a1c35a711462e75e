"""A trained model, exported, loaded by transformers and evaluated there: the same numbers."""

import json

import numpy as np
import pytest

from aligngap.cli import main
from aligngap.data import eval_set
from aligngap.errors import AligngapError
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints
from aligngap.tasks import retrieval
from aligngap.training import run as runs

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.system, pytest.mark.corpus]
SPLIT = "test_unseen_both"


def embedded(folder, split):
    """Embeddings of a split by transformers alone: its model, its processor, its tokenizer."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    pictures = list(split.images())
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")
        image = model.get_image_features(**pixels).pooler_output
        ids = processor(text=split.texts, padding=True, truncation=True, return_tensors="pt")
        text = model.get_text_features(**ids).pooler_output
    return [(rows / rows.norm(dim=-1, keepdim=True)).numpy() for rows in (image, text)]


@pytest.mark.usefixtures("evaluated")
def test_retrieval_there_is_retrieval_here(finished, program, tmp_path):
    done = program.run(
        "export", f"--workdir={finished}", "--format=transformers", f"--output={tmp_path / 'out'}"
    )
    assert done.returncode == 0, done.stderr
    split = eval_set.read(workdir.read_config(finished), SPLIT)
    image, text = embedded(tmp_path / "out", split)
    stored = np.load(finished / "embeddings.npz")
    np.testing.assert_allclose(image, stored[f"{SPLIT}/trained/image"], atol=1e-5)
    np.testing.assert_allclose(text, stored[f"{SPLIT}/trained/text"], atol=1e-5)
    found = retrieval.evaluate(image, text, split.image_group, split.text_group, seed=0)
    wanted = json.loads((finished / "evaluation.json").read_text())["splits"][SPLIT]["retrieval"]
    assert {name: one.value for name, one in found.items()} == pytest.approx(
        {name: one["value"] for name, one in wanted.items()}, abs=1e-9
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| {SPLIT} | " in card and "CC-BY-SA-4.0" in card


def test_an_import_is_evaluated_and_exported_again(finished, program, tmp_path):
    """Out, in, evaluated without an optimiser's state, out again: the same bits."""
    out, run, again = tmp_path / "out", tmp_path / "run", tmp_path / "again"
    given = f"--data_dir={program.data_dir}"
    assert main(["export", f"--workdir={finished}", "--format=npz", f"--output={out}"]) == 0
    assert main(["import", f"--source={out}", f"--workdir={run}", given]) == 0
    done = program.run("evaluate", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    assert "at step 0" in done.stdout and "before training" not in done.stdout
    assert main(["report", f"--workdir={run}", f"--output={tmp_path / 'page.html'}"]) == 0
    assert main(["export", f"--workdir={run}", "--format=npz", f"--output={again}"]) == 0
    one, other = (np.load(folder / "parameters.npz") for folder in (out, again))
    assert set(one.files) == set(other.files)
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
    assert "Imported, not trained here" in (again / "README.md").read_text()


def test_training_does_not_go_on_from_an_import(finished, tmp_path):
    out, run = tmp_path / "out", tmp_path / "run"
    assert main(["export", f"--workdir={finished}", "--format=npz", f"--output={out}"]) == 0
    assert main(["import", f"--source={out}", f"--workdir={run}"]) == 0
    started = runs.prepare(workdir.read_config(run), run)
    with (
        Checkpoints(run, started.config) as checkpoints,
        pytest.raises(AligngapError, match="holds an imported model"),
    ):
        runs.restore(started, checkpoints)
