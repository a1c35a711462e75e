"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """One line of narration on stderr, above any bar; stdout stays free for results."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


class Bar:
    """A context manager: `advance(n)` moves it, `note(text)` sets the words at its end."""

    def __init__(self, title: str, total: int, unit: str, initial: int = 0) -> None:
        self._on_terminal = sys.stderr.isatty()
        # Off a terminal tqdm only keeps the clock and formats; the lines are printed here.
        self._bar = tqdm(
            desc=title,
            total=total,
            initial=initial,
            unit=f" {unit}",
            file=sys.stderr,
            disable=False if self._on_terminal else None,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._title, self._unit, self._total = title, unit, total
        self._initial = self._done = initial
        self._started = self._last_line = time.monotonic()
        self._note = ""

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._on_terminal and self._done > self._initial:
            self._line()
        self._bar.close()

    def note(self, text: str) -> None:
        """Words after the numbers, e.g. the current loss."""
        self._note = text
        if self._on_terminal:
            self._bar.set_postfix_str(text, refresh=False)

    def advance(self, n: int = 1) -> None:
        """Counts n units as done."""
        self._done += n
        if self._on_terminal:
            self._bar.update(n)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self._last_line = time.monotonic()
        words = tqdm.format_meter(
            self._done,
            self._total,
            self._last_line - self._started,
            initial=self._initial,
            unit=f" {self._unit}",
            prefix=self._title,
            postfix=self._note,
            bar_format="{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}] {postfix}",
        )
        print(words, file=sys.stderr, flush=True)


def track(items: Iterable[T], title: str, total: int, unit: str) -> Iterator[T]:
    """Yields the items and counts each as it is asked for the next one."""
    with Bar(title, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
