"""From outside the package, without a change in it: a corpus, a tokenizer and an evaluator."""

import json
import shutil
from pathlib import Path

import pytest

from programs import Program
from workdirs import metrics

OUTSIDE = Path(__file__).with_name("outside")
CONFIG = """
from ml_collections import ConfigDict
from aligngap.config import evaluator, tower
from aligngap.presets import preset

def get_config():
    config = preset("alignclip")
    config.steps, config.batch_size, config.optimizer.warmup_steps = 3, 8, 1
    config.log.every_steps = config.checkpoint.every_steps = 1
    config.data.corpus, config.data.tokenizer = "shapes.Shapes", "shapes.Letters"
    config.objective.semantic_rescaling = False
    config.model.embed_dim = 16
    config.model.image.update(tower(32, 1, 2, 2.0), size=16, patch_size=8)
    config.model.text.update(tower(32, 1, 2, 2.0), context_length=24, vocab_size=40)
    config.model.text.pooling = "last"
    config.evaluators.gap.every_steps = config.evaluators.retrieval.every_steps = 3
    config.evaluators.spread = evaluator("shapes.Spread", every_steps=2, first=False, power=2)
    return config
"""


@pytest.mark.system
def test_a_corpus_a_tokenizer_and_an_evaluator_of_ones_own(tmp_path):
    program = Program(tmp_path / "no_data", also=OUTSIDE)
    (tmp_path / "mine.py").write_text(CONFIG)
    run, page = tmp_path / "run", tmp_path / "report.html"
    for given in (
        ("train", f"--config={tmp_path / 'mine.py'}", f"--workdir={run}"),
        ("evaluate", f"--workdir={run}"),
        ("report", f"--workdir={run}", f"--output={page}"),
    ):
        done = program.run(*given)
        assert done.returncode == 0, done.stderr
    steps = [line["step"] for line in metrics(run) if "validation/spread/rows" in line]
    assert steps == [2, 3]
    assert [x["step"] for x in metrics(run) if "validation/gap/alignment_score" in x] == [0, 3]
    found = json.loads((run / "evaluation.json").read_text())["splits"]["held_out"]
    assert (found["title"], found["num_images"], found["num_captions"]) == ("Shapes held out", 4, 8)
    assert found["spread"]["rows"] == {"value": 12.0}
    assert found["spread"]["of_image"]["spread"].keys() == {"value", "low", "high"}
    assert found["zero_shot"]["colour"]["acc1"]["chance"] == 0.25
    shown = page.read_text()
    for words in ("Shapes held out", "shapes that training did not see", "12.000"):
        assert words in shown, words
    texts = tmp_path / "texts.txt"
    texts.write_text("a red ring\n")
    done = program.run(
        "embed", f"--workdir={run}", f"--texts={texts}", f"--output={tmp_path / 'e'}"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.system
def test_records_that_cannot_be_read_are_replaced_and_counted(tmp_path):
    """Four of 16 are; also where a run goes on from a save, which its metrics do not show."""
    program, run = Program(tmp_path / "no", also=OUTSIDE), tmp_path / "run"
    torn = CONFIG.replace("shapes.Shapes", "shapes.Torn").replace("= 3, 8, 1", "= 4, 8, 1")
    (tmp_path / "mine.py").write_text(torn)
    command = ("train", f"--config={tmp_path / 'mine.py'}", f"--workdir={run}")
    done = program.run(*command)
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warned) == 1
    assert "of train cannot be decoded" in warned[0]
    assert "takes its place" in warned[0]
    replaced = [x.get("data/replaced", 0) for x in metrics(run) if "train/loss" in x]
    assert replaced[1::2] == [4, 8]  # 16 records are two batches of 8.
    first = (run / "metrics.jsonl").read_bytes()
    for step in (3, 4):
        shutil.rmtree(run / "checkpoints" / str(step))
    done = program.run(*command)
    assert done.returncode == 0, done.stderr
    assert "from step 2" in done.stderr + done.stdout
    assert (run / "metrics.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--config.data.corpus=shapes.Nothing", "corpus 'shapes.Nothing' cannot be imported"),
        ("--config.evaluators.spread.type=shapes.Shapes", "derives from no Evaluator"),
        ("--config.evaluators.spread.powers=2", "powers"),
        ("--config.objective.semantic_rescaling=True", "give data.semantics=FILE.npy"),
        ("--config.data.tokenizer=shapes.Shapes", "derives from no Tokenizer"),
    ],
)
def test_what_is_wrong_with_them_is_one_line(given, words, tmp_path):
    program = Program(tmp_path / "no_data", also=OUTSIDE)
    (tmp_path / "mine.py").write_text(CONFIG)
    done = program.run(
        "train", f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}", given
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
