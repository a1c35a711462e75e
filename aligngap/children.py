"""`aligngap` in processes of its own, one after another or some at once on a CPU.

So each starts with all of a device's memory and with the XLA flags that its config asks for, and
one that is killed for its memory, or ended by its watchdog, does not end the others.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType
from typing import NamedTuple

from aligngap import progress
from aligngap.errors import AligngapError, Preempted, UsageError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PASSED_ON = signal.SIGUSR1  # In their place, to a process that this one has started.
SECONDS_FOR_LAST_WORDS = 5.0  # A worker of a process that was killed may keep its stderr open.


class Job(NamedTuple):
    """A command: its name, what `aligngap` is given, and what is let go of when it has ended."""

    name: str
    words: list[str]
    held: ExitStack
    locks: tuple[int, ...] = ()  # Its process holds these files too, should this one be killed.


def run(jobs: Iterator[Job], at_once: int) -> None:
    """Runs them all; of several at once each has its share of the cores, and its lines begin with
    its name. The next one is asked for when its turn has come, by one thread at a time.

    Preempted after a signal, when those in hand have ended; AligngapError, naming them, where some
    have failed; UsageError for fewer cores than commands at once.
    """
    shares = _shares(at_once)
    with _Children(jobs) as children:
        if at_once == 1:
            children.go_on()
        else:
            with ThreadPoolExecutor(at_once) as pool:
                for each in [pool.submit(children.go_on, True, cores) for cores in shares]:
                    each.result()
    if children.stopped:
        raise Preempted(
            f"{children.received or 'a signal'}: stopped at {', '.join(children.stopped)}; the "
            "same command goes on from there"
        )
    if children.failed:
        raise AligngapError(
            f"{len(children.failed)} of {children.begun} failed: {', '.join(children.failed)}; the "
            "same command tries them again"
        )


class _Children:
    """A context manager, entered by the main thread; any number of threads go on with the jobs.

    `received` is the name of the first signal that came, or None.
    """

    def __init__(self, jobs: Iterator[Job]) -> None:
        self.received: str | None = None
        self.begun = 0
        self.failed: list[str] = []
        self.stopped: list[str] = []
        self._jobs, self._asking = jobs, threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def __enter__(self) -> "_Children":
        self._before = {each: signal.signal(each, self._hear) for each in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def go_on(self, among_others: bool = False, cores: Collection[int] | None = None) -> None:
        """One job after another, until there is none or a signal came."""
        if cores is not None:
            os.sched_setaffinity(0, cores)  # Of this thread, from which its processes have it.
        while (job := self._next()) is not None:
            with job.held:
                code = self._run(job, among_others)
            if self.received or code == Preempted.exit_code:
                self.stopped.append(job.name)
            elif code:
                self.failed.append(job.name)
                progress.say(f"{job.name} failed ({_ended(code)}); the others go on")

    def _next(self) -> Job | None:
        with self._asking:
            if self.received or self.stopped:
                return None
            job = next(self._jobs, None)
            self.begun += job is not None
            return job

    def _run(self, job: Job, among_others: bool) -> int:
        """Its exit code."""
        command = [sys.executable, "-m", "aligngap.cli", *job.words]
        if not among_others:
            return self._wait(subprocess.Popen(command, pass_fds=job.locks, text=True))
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        process = subprocess.Popen(
            command, pass_fds=job.locks, env=environment, text=True, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        said = (job.name, process.stderr)
        saying = threading.Thread(target=_repeat, args=said, daemon=True)
        saying.start()
        code = self._wait(process)
        saying.join(SECONDS_FOR_LAST_WORDS)
        return code

    def _wait(self, process: subprocess.Popen[str]) -> int:
        self._running.add(process)
        if self.received:  # Between the last job and this one.
            process.send_signal(PASSED_ON)
        try:
            return process.wait()
        finally:
            self._running.discard(process)

    def _hear(self, number: int, _: FrameType | None) -> None:
        """The first asks them to save and end, the second ends all at once."""
        for process in tuple(self._running):
            process.send_signal(signal.SIGKILL if self.received else PASSED_ON)
        if self.received:
            os._exit(128 + number)
        self.received = signal.Signals(number).name


def _repeat(name: str, lines: Iterable[str]) -> None:
    for line in lines:
        progress.say(f"{name}: {line.rstrip()}")


def _shares(count: int) -> list[Collection[int] | None]:
    """This process's cores in so many parts of one size; None each where they are not known."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * count
    cores = sorted(os.sched_getaffinity(0))
    size = len(cores) // count
    if not size:
        raise UsageError(f"--at_once={count}: there are {len(cores)} cores; give at most as many")
    return [cores[part * size : (part + 1) * size] for part in range(count)]


def _ended(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
