"""The table of `aligngap bench readers`: our own reader, and the others where they are there."""

from pathlib import Path

import numpy as np
import pytest

from aligngap.benchmarks import readers
from aligngap.benchmarks.peers import shards
from aligngap.benchmarks.peers.job import Ids, Job
from aligngap.cli import main
from aligngap.config import default
from aligngap.data import corpora
from aligngap.data.corpora.packaged import Picture
from aligngap.data.tokenizers import bpe
from aligngap.errors import AligngapError

ROOT = Path(__file__).parents[2]
THERE = ROOT / ".venv-peers" / "bin" / "python"  # launch/peers.sh makes it.
IMAGES = 80


@pytest.fixture(scope="module")
def folder(pictograms_dir, tmp_path_factory) -> Path:
    """Shards of some pictograms as JPEG."""
    config = default()
    config.data.data_dir = str(pictograms_dir)
    source = corpora.open_train(config)
    records = [source[row] for row in range(IMAGES)]
    pictures = [Picture(str(n), "png", r.image, r.captions) for n, r in enumerate(records)]
    made = tmp_path_factory.mktemp("shards")
    shards.write(pictures, made)
    return made


def lines(folder: Path, tmp_path: Path, python: Path, capsys) -> list[str]:
    given = f"--shards={folder} --data_dir={tmp_path} --image_size=32 --images=64 --rounds=1"
    assert main(["bench", "readers", *given.split(), f"--python={python}"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.corpus
@pytest.mark.system
def test_our_reader_alone(folder, tmp_path, capsys):
    head, work, columns, *rows, last = lines(folder, tmp_path, tmp_path / "none", capsys)
    assert head.startswith(f"{IMAGES} images in 1 shard, ") and " px and " in head
    assert "uint8 [64, 32, 32, 3] and ids [64, 77]" in work and "1 round of 128 images" in work
    assert columns.split()[:2] == ["reader", "images/s"]
    assert [row[:22].strip() for row in rows] == [reader.name for reader in readers.OURS]
    assert rows[0].count("1.00 (1.00 to 1.00)") == 2
    assert last.startswith("Only aligngap: there is no ") and "launch/peers.sh" in last


@pytest.mark.corpus
@pytest.mark.system
@pytest.mark.skipif(not THERE.exists(), reason="no .venv-peers; launch/peers.sh makes it")
def test_the_others_make_the_same_arrays(folder, tmp_path, capsys):
    """Each says so itself (job.measure), or fails."""
    _, _, _, *rows = lines(folder, tmp_path, THERE, capsys)
    names = [reader.name for reader in (*readers.OURS, *readers.PEERS)]
    assert [row[:22].strip() for row in rows] == names
    assert all(float(row[22:].split()[0].replace(",", "")) > 0 for row in rows)


def job(tmp_path: Path) -> Job:
    return Job((), str(tmp_path), 2, 32, 12, (0.9, 1.0), (0.75, 1.3), 1, 1)


def test_ids_are_ours(tmp_path):
    captions = ["A castle in ruins.", "a river", "", "many " * 20]
    tokenizer = bpe.train(captions, 600)
    tokenizer.save(tmp_path)
    np.testing.assert_array_equal(Ids(job(tmp_path))(captions), tokenizer.encode(captions, 12))


def test_a_reader_that_fails_is_named(tmp_path):
    with pytest.raises(AligngapError, match=r"^tf\.data failed \(/bin/false -m .*tf_data\): "):
        readers.turn(readers.PEERS[-1], "/bin/false", job(tmp_path))


def test_a_folder_without_shards_is_one_line(tmp_path, capsys):
    assert main(["bench", "readers", f"--shards={tmp_path}", f"--data_dir={tmp_path}"]) == 2
    assert "expected a folder of .tar files" in capsys.readouterr().err
