"""TensorBoard's file of events, written by the caller.

The thread of tensorboardX's SummaryWriter dies of a full disk without the run being told, and its
queue then stops the run.
"""

import time
from collections.abc import Mapping
from pathlib import Path


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
