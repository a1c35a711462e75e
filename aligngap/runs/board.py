"""TensorBoard's file of events, written by the caller and read again for a run's page.

The thread of tensorboardX's SummaryWriter dies of a full disk without the run being told, and its
queue then stops the run.
"""

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# What a clock says: FLOP utilisation is of what the model needs, `training.model_flops`.
TIMING = "timing/"
IMAGES, MFU, GOODPUT = (TIMING + name for name in ("images_per_second", "mfu", "goodput"))


class Board:
    """A file in `workdir`; OSError where it cannot be written."""

    def __init__(self, workdir: Path, first_step: int) -> None:
        # They import torch where there is one: seconds.
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event, self._scalar = Event, summary.scalar
        # Two files of one second, as after a roll back, would have one name.
        self._file = EventsWriter(str(workdir / "events"), f".{time.time_ns()}")
        # Of what an attempt that was lost wrote from here on, nothing is shown.
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(step=first_step, wall_time=time.time(), session_log=start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One event a value, on disk before this returns."""
        now = time.time()
        for name, value in values.items():
            summary = self._scalar(name, value)
            self._file.write_event(self._event(step=step, wall_time=now, summary=summary))
        self._file.flush()

    def close(self) -> None:
        """What `write` wrote is already on disk."""
        self._file.close()


def read(workdir: Path, prefix: str) -> dict[str, dict[int, float]]:
    """What events say under names that start so: name → step → value. Of what an attempt that was
    lost wrote, nothing; files that are cut off or strange end where they do."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(workdir.glob("events.*")):
        for event in _events(path.read_bytes()):
            if event.HasField("session_log"):
                for values in found.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                if value.tag.startswith(prefix):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    return {name: values for name, values in found.items() if values}


def _events(content: bytes) -> Iterator[Any]:
    """Records are framed: length of 8 bytes, its checksum of 4, an event, its checksum of 4."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    while len(content) >= 12:
        (size,) = struct.unpack("<Q", content[:8])
        event, checksum = content[12 : 12 + size], content[12 + size : 16 + size]
        if len(checksum) < 4 or masked_crc32c(event) != struct.unpack("<I", checksum)[0]:
            return
        try:
            yield Event.FromString(event)
        except DecodeError:
            return
        content = content[16 + size :]
