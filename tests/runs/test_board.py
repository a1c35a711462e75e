"""TensorBoard's events, read again as a run's page does."""

import pytest
from tensorboardX.record_writer import RecordWriter

from aligngap.runs import board
from aligngap.runs.board import Board


def write(folder, first, steps, rate):
    made = Board(folder, first)
    for step in steps:
        made.write(step, {"train/loss": 1.0, "timing/images_per_second": rate * step})
    made.close()


def test_what_a_lost_attempt_wrote_is_not_read(tmp_path):
    assert board.read(tmp_path, "timing/") == {}
    write(tmp_path, 0, (10, 20, 30), 1.0)
    write(tmp_path, 21, (30, 40), 2.0)  # Goes on from step 20.
    found = board.read(tmp_path, "timing/")
    assert found == {"timing/images_per_second": {10: 10.0, 20: 20.0, 30: 60.0, 40: 80.0}}


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x05" + b"\x00" * 30])
def test_a_file_that_ends_in_the_middle_is_read_up_to_there(damage, tmp_path):
    write(tmp_path, 0, (10, 20), 1.0)
    (path,) = tmp_path.glob("events.*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + damage)
    assert list(board.read(tmp_path, "timing/")["timing/images_per_second"]) == [10]


def test_an_event_that_is_none_ends_its_file(tmp_path):
    """Its frame is whole and its checksums are right: what is within is no event."""
    write(tmp_path, 0, (10, 20), 1.0)
    (path,) = tmp_path.glob("events.*")
    writer = RecordWriter(str(tmp_path / "none"))
    writer.write(b"\xff no event")
    writer.close()
    path.write_bytes(path.read_bytes() + (tmp_path / "none").read_bytes())
    assert list(board.read(tmp_path, "timing/")["timing/images_per_second"]) == [10, 20]
