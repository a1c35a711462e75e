"""SIGTERM and SIGINT: heard when they come, obeyed between steps; the second one ends at once.

What a sweep passes on to its point's process is no second one: a terminal or a scheduler may have
sent its own to both.
"""

import os
import signal
import threading

from aligngap import progress
from aligngap.children import PASSED_ON, SIGNALS

HEARD = (*SIGNALS, PASSED_ON)


class Interruption:
    """A context manager; `received` is the name of the first signal that came, or None.

    The interpreter's C handler writes a byte for each signal and a thread reads it, so that a
    signal is heard even while the main thread waits for a compilation or for other processes.
    """

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> "Interruption":
        self._heard, self._written = os.pipe()
        os.set_blocking(self._written, False)
        # Python's own handlers do nothing; the defaults would end the process.
        self._before = {each: signal.signal(each, lambda *_: None) for each in HEARD}
        self._wakeup_before = signal.set_wakeup_fd(self._written)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for each, handler in self._before.items():
            signal.signal(each, handler)
        os.close(self._written)  # The listener reads the end and returns.
        self._listener.join()
        os.close(self._heard)

    def _listen(self) -> None:
        own = 0
        while heard := os.read(self._heard, 1):
            own += heard[0] in SIGNALS
            if own > 1:
                os._exit(128 + heard[0])  # What a shell reports of a process that it killed.
            if heard[0] in HEARD and not self.received:
                self.received = signal.Signals(heard[0]).name
                progress.say(
                    f"{self.received}: saving after this step; a second signal ends at once"
                )
