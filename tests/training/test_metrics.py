"""metrics.jsonl and TensorBoard's events as they are on disk, and a disk that is full."""

import json
import resource
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from aligngap.errors import AligngapError
from aligngap.training.metrics import Writers, drop_after, measured


def events(workdir):
    """Of each file, the oldest first: records framed by length and checksums."""
    for path in sorted(workdir.glob("events.*")):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + size])
            content = content[12 + size + 4 :]


def test_each_value_is_an_event_and_a_run_that_goes_on_hides_what_was_lost(tmp_path):
    with Writers(tmp_path, {}, 0) as writers:
        writers.write(1, {"train/loss": 5.5}, {"timing/goodput": 0.25})
        writers.write(2, {"train/loss": float("nan")})
    with Writers(tmp_path, {}, 1) as writers:
        writers.write(2, {"train/loss": 4.5})
    found = list(events(tmp_path))
    assert [event.file_version for event in found if event.file_version] == ["brain.Event:2"] * 2
    starts = [e.step for e in found if e.session_log.status == SessionLog.START]
    assert starts == [0, 2]
    values = [(e.step, v.tag, v.simple_value) for e in found for v in e.summary.value]
    assert values[:2] == [(1, "train/loss", 5.5), (1, "timing/goodput", 0.25)]
    assert values[2][:2] == (2, "train/loss") and values[2][2] != values[2][2]
    assert values[3:] == [(2, "train/loss", 4.5)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "train/loss": 5.5}, {"step": 2, "train/loss": 4.5}]


@pytest.fixture
def no_room():
    """() → no file of this process can grow past 2,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_in_one_line(tmp_path, no_room):
    with pytest.raises(AligngapError) as told, Writers(tmp_path, {}, 0) as writers:
        no_room()
        for step in range(1000):
            writers.write(step, {"train/loss": 1.0})
    assert f"the metrics in {tmp_path} cannot be written (File too large)" in str(told.value)
    assert step < 100


def test_lines_that_are_none_are_dropped(tmp_path):
    whole = '{"step": 1, "train/loss": 2.0}\n'
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'[1]\nnull\n{"step": "x"}\n\xff\n' + whole.encode() + b'{"step": 2, "\xe9')
    assert not measured(tmp_path, 1)
    drop_after(path, 2)
    assert path.read_text("utf-8") == whole
