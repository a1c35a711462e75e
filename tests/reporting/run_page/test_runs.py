"""Reading workdirs: every missing or broken file gives one line that names it and its remedy."""

import json

import numpy as np
import pytest

from aligngap.errors import AligngapError
from aligngap.reporting.run_page import runs

FILES = ("config.json", "metrics.jsonl", "evaluation.json", "embeddings.npz")


def command_for(name):
    return "aligngap train" if name in FILES[:2] else "aligngap evaluate"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_its_command(pair, name):
    (pair[1] / name).unlink()
    with pytest.raises(AligngapError) as caught:
        runs.read(pair)
    message = str(caught.value)
    assert f"{pair[1] / name} is missing" in message
    assert command_for(name) in message and f"--workdir={pair[1]}" in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"\x00\xff broken", b"PK\x03\x04 cut short", b"[1, 2]"])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_named_with_its_command(pair, name, content):
    if name == "metrics.jsonl":
        content = content + b"\n{}\n"  # a last line alone may be broken
    (pair[0] / name).write_bytes(content)
    with pytest.raises(AligngapError) as caught:
        runs.read(pair)
    assert str(pair[0] / name) in str(caught.value)
    assert command_for(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_cut_short_is_named(pair):
    path = pair[0] / "embeddings.npz"
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(AligngapError, match=r"embeddings\.npz cannot be read"):
        runs.read(pair)


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_missing_number_is_named(pair):
    change_json(
        pair[0] / "evaluation.json",
        lambda found: found["splits"]["test_unseen_both"]["gap"]["centroid_distance"].pop("low"),
    )
    with pytest.raises(AligngapError, match=r"evaluation.json lacks 'low'"):
        runs.read(pair)


@pytest.mark.parametrize("value", [10**400, [], "x", {"value": 1}])
def test_another_thing_for_a_number_is_told(pair, value):
    change_json(
        pair[0] / "evaluation.json",
        lambda found: found["splits"]["test_unseen_both"]["gap"]["centroid_distance"].update(
            chance=value
        ),
    )
    with pytest.raises(
        AligngapError, match=r"evaluation\.json cannot be read \(.+\): run `aligngap"
    ):
        runs.read(pair)


def test_an_archive_of_another_make_is_named(pair):
    """A method of compression that Python does not know."""
    path = pair[0] / "embeddings.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 10] = 99
    path.write_bytes(content)
    with pytest.raises(AligngapError, match=r"embeddings\.npz cannot be read \(.+ not supported"):
        runs.read(pair)


@pytest.mark.parametrize("line", ['{"step": 1e400}', '{"step": 1, "a": %d}' % 10**400])  # noqa: UP031
def test_a_line_of_metrics_that_no_float_holds(pair, line):
    path = pair[0] / "metrics.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(AligngapError, match=r"metrics\.jsonl cannot be read"):
        runs.read(pair)


def change_arrays(workdir, **changes):
    with np.load(workdir / "embeddings.npz") as arrays:
        content = dict(arrays)
    content.update({f"test_unseen_style/{name}": value for name, value in changes.items()})
    np.savez(workdir / "embeddings.npz", **content)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_caption": np.full(30, 12)}, "points beyond 12 rows"),
        ({"image_caption": np.zeros(30)}, "not integers"),
        ({"gallery_rows": np.zeros((2, 2), int)}, "not integers \\[4\\]"),
        ({"gallery_rows": np.array([0, 30])}, "points beyond 30 rows"),
        ({"trained/image": np.full((30, 8), np.nan, "f4")}, "not finite"),
        ({"trained/image": np.ones((30, 9), "f4")}, "are no pair"),
        ({"captions": np.array(["a"] * 11)}, "points beyond 11 rows"),
        ({"captions": np.array(["a"] * 13)}, "not as many"),
        ({"captions": np.array([{"a": 1}] * 12, dtype=object)}, "allow_pickle=False"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(pair, changes, reason):
    change_arrays(pair[0], **changes)
    with pytest.raises(AligngapError, match=reason):
        runs.read(pair)


def test_files_of_two_evaluations_are_told_apart(pair):
    with np.load(pair[0] / "embeddings.npz") as arrays:
        content = {**arrays, "step": np.array(60)}
    np.savez(pair[0] / "embeddings.npz", **content)
    words = r"embeddings\.npz is of step 60 and evaluation\.json of step 120: run `aligngap evalu"
    with pytest.raises(AligngapError, match=words):
        runs.read(pair)


def test_a_missing_array_is_named(pair):
    with np.load(pair[0] / "embeddings.npz") as arrays:
        content = {name: arrays[name] for name in arrays if name != "test_unseen_style/captions"}
    np.savez(pair[0] / "embeddings.npz", **content)
    with pytest.raises(AligngapError, match=r"lacks 'test_unseen_style/captions': run"):
        runs.read(pair)


def test_runs_on_different_images_are_not_compared(pair):
    change_arrays(pair[1], captions=np.array(["another"] * 12))
    with pytest.raises(AligngapError, match="evaluated on different images of test_unseen_style"):
        runs.read(pair)


def test_nothing_to_read_is_an_error():
    with pytest.raises(AligngapError, match="no workdir"):
        runs.read([])


def test_a_half_written_last_line_is_left_out(pair):
    steps, values = runs.read(pair)[0].curves["train/loss"]
    assert steps[-1] == 120 and len(steps) == len(values) == 120


def test_a_step_done_again_counts_as_it_came_last(make_run, tmp_path):
    workdir = make_run(tmp_path / "clip")
    (workdir / "metrics.jsonl").write_text(
        '{"step": 1, "train/loss": 3}\n{"step": 2, "train/loss": 2}\n{"step": 2, "train/loss": 1}'
    )
    steps, values = runs.read([workdir])[0].curves["train/loss"]
    assert steps.tolist() == [1, 2] and values.tolist() == [3, 1]


def test_labels_are_the_papers_and_made_distinct(make_run, tmp_path):
    workdirs = [
        make_run(tmp_path / "a", "clip", seed=0),
        make_run(tmp_path / "b", "clip", seed=1),
        make_run(tmp_path / "c", "sharedclip"),
        make_run(tmp_path / "d", "mine", seed=4),
        make_run(tmp_path / "e", "mine", seed=4),
        make_run(tmp_path / "f", "n" * 200),
    ]
    labels = [run.label for run in runs.read(workdirs)]
    assert labels[:3] == ["CLIP, seed 0", "CLIP, seed 1", "SharedCLIP"]
    assert labels[3:5] == ["mine, seed 4, d", "mine, seed 4, e"]
    assert len(labels[5]) == runs.LABEL_LENGTH


def test_a_model_that_came_trained_has_no_beginning(make_run, tmp_path):
    workdir = make_run(tmp_path / "clip")
    change_json(workdir / "evaluation.json", lambda found: found.update(before={}))
    with np.load(workdir / "embeddings.npz") as arrays:
        content = {name: arrays[name] for name in arrays if "initial" not in name}
    np.savez(workdir / "embeddings.npz", **content)
    run = runs.read([workdir])[0]
    assert set(run.clouds["test_unseen_both"]) == {"trained"}
    assert run.splits["test_unseen_both"].gap_before == {}
