"""A run that stands still is reported with what every thread is doing, and can be ended."""

import faulthandler
import os
import sys
import threading

from aligngap import progress

STALLED = 1  # Exit code: a failure, which a scheduler may answer by starting the command again.


class Watchdog:
    """A context manager; `beat(step)` says that the run goes on. Seconds; 0 is never.

    It ends the process without waiting for anything: what stalls the run would stall that too.
    Before the first beat it only reports, since a compilation may take long.
    """

    def __init__(self, report_after: float, end_after: float) -> None:
        self._limits = sorted(limit for limit in (report_after, end_after) if limit)
        self._end_after, self._step = end_after, -1
        self._beaten, self._closed = threading.Event(), False

    def __enter__(self) -> "Watchdog":
        if self._limits:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._beaten.set()

    def beat(self, step: int) -> None:
        """`step` is done."""
        self._step = step
        self._beaten.set()

    def _watch(self) -> None:
        while not self._closed:
            self._beaten.clear()
            waited = 0.0
            for limit in self._limits:
                if self._beaten.wait(limit - waited):
                    break
                waited = limit
                self._tell(limit)
            self._beaten.wait()

    def _tell(self, seconds: float) -> None:
        since = f"since step {self._step}" if self._step >= 0 else "since the start"
        progress.say(f"No step for {seconds:g} s {since}; what each thread does:")
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        if self._end_after and seconds >= self._end_after and self._step >= 0:
            progress.say(
                "Ended by watchdog.end_after_s; the same command goes on from the last save"
            )
            os._exit(STALLED)
