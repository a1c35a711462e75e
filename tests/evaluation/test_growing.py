"""Rows that grow in a file: wherever the work is cut off, it ends as if it never had been."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from aligngap.errors import AligngapError, UsageError
from aligngap.evaluation.growing import Growing, Layout

PLAN = {"model": "a", "list of images": "b"}
IDS = ["one", "two\nlines", "café \udcff", "four", "five"]


@pytest.fixture
def rows(unit_rows):
    return unit_rows(4, 8, seed=0).astype(np.float32)


def opened(folder: Path, dtype: str = "float32", form: str = "npy", **plan) -> Growing:
    return Growing(folder, "image", {**PLAN, **plan}, Layout(8, dtype, form))


def write(folder: Path, rows: np.ndarray, **layout) -> Growing:
    growing = opened(folder, **layout)
    growing.append(rows[:2], 2, {})
    growing.append(rows[2:3], 2, {3: "broken"})
    growing.append(rows[3:], 1, {})
    growing.finish(IDS, {"given": "here"})
    return growing


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_what_is_written_is_what_was_given(tmp_path, rows, dtype, form):
    growing = write(tmp_path, rows, dtype=dtype, form=form)
    load = np.load if form == "npy" else lambda path: safetensors.numpy.load_file(path)["image"]
    found = load(growing.path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, rows.astype(dtype))
    names = (tmp_path / "image_ids.txt").read_text().splitlines()
    assert names == ["one", "two\\nlines", "café \\udcff", "five"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("image_ids.txt", "image.json", f"image.{form}")
    }
    again = opened(tmp_path, dtype=dtype, form=form)
    assert (again.done, again.rows, again.skipped) == (True, 4, {3: "broken"})


def test_rows_past_the_last_save_are_written_again(tmp_path, rows):
    growing = opened(tmp_path)
    growing.append(rows[:2], 2, {})  # The first rows are saved at once, the next seconds later.
    growing.append(rows[2:3], 2, {3: "broken"})
    growing.close()
    resumed = opened(tmp_path)
    assert (resumed.items, resumed.skipped) == (2, {})
    resumed.append(rows[2:3], 2, {3: "broken"})
    resumed.save()
    resumed.close()
    last = opened(tmp_path)
    assert (last.items, last.rows, last.skipped) == (4, 3, {3: "broken"})
    last.append(rows[3:], 1, {})
    last.finish(IDS, {})
    np.testing.assert_array_equal(np.load(last.path), rows)


@pytest.mark.parametrize("renames", range(5))
def test_finishing_can_be_cut_off_anywhere(tmp_path, rows, renames, monkeypatch):
    """Each file gets its name by a rename: the process ends at one of these."""
    growing = opened(tmp_path)
    growing.append(rows, 5, {3: "broken"})
    replace, done = Path.replace, []

    def failing(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", failing)
        growing.finish(IDS, {})
        raise KeyboardInterrupt
    again = opened(tmp_path)
    if not again.done:
        assert again.items == 5
        again.finish(IDS, {})
    np.testing.assert_array_equal(np.load(again.path), rows)
    assert not list(tmp_path.glob(".image*"))


@pytest.mark.parametrize("finished", [True, False])
def test_another_plan_is_refused(tmp_path, rows, finished):
    if finished:
        write(tmp_path, rows)
    else:
        growing = opened(tmp_path)
        growing.append(rows, 5, {3: "broken"})
        growing.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="image embeddings of another model"):
        opened(tmp_path, model="c")
    with pytest.raises(UsageError, match="another dtype"):
        opened(tmp_path, "float16")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_files_that_are_in_the_way_or_damaged(tmp_path, rows):
    np.save(tmp_path / "image.npy", rows)
    with pytest.raises(UsageError, match=r"image\.npy is in the way"):
        opened(tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), rows)
    (tmp_path / "image.npy").unlink()
    growing = opened(tmp_path)
    growing.append(rows, 5, {3: "broken"})
    growing.close()
    (tmp_path / ".image.rows").write_bytes(b"short")
    with pytest.raises(AligngapError, match="shorter than it was"):
        opened(tmp_path)
    (tmp_path / ".image.progress.json").write_text("{}")
    with pytest.raises(AligngapError, match="is damaged"):
        opened(tmp_path)
