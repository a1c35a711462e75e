"""What a run says while it runs: its values, the progress bar, where time went."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.runs.board import GOODPUT, IMAGES, MFU
from aligngap.training.metrics import NoWriters, Writers


class Log:
    """A context manager; the loop tells it what happened, and it decides nothing."""

    def __init__(
        self,
        config: ConfigDict,
        writers: Writers | NoWriters,
        start: int,
        at_peak: float | None = None,
    ) -> None:
        """`at_peak`: seconds of a step at the devices' peak, where that is known."""
        self._config, self._writers, self._at_peak = config, writers, at_peak
        self._bar = progress.Bar(
            f"Training {config.name}",
            config.steps * config.batch_size,
            "images",
            start * config.batch_size,
        )
        self._began = self._since = time.perf_counter()
        self._since_step, self._elsewhere = start, 0.0
        self._compiled_step = self._latest = start
        self._timing: dict[str, float] = {}

    def __enter__(self) -> "Log":
        self._writers.__enter__()
        self._bar.__enter__()
        return self

    def __exit__(self, error: type[BaseException] | None, *rest: object) -> None:
        self._bar.__exit__(error, *rest)
        self._writers.__exit__(error, *rest)

    def compiled(self, metrics: Mapping[str, jax.Array]) -> None:
        """The first step is done: the time up to here was none of the steps'."""
        jax.block_until_ready(metrics)
        self._since = time.perf_counter()
        self._elsewhere = self._since - self._began
        self._since_step += 1
        self._compiled_step = self._since_step

    def step(self, step: int, values: Mapping[str, float], replaced: int = 0) -> None:
        """A step's values: on the bar, and every n-th time written; with data/replaced, how many
        rows up to here, of all processes, stood in for records that could not be read, if any."""
        self._latest = step
        self._bar.advance(self._config.batch_size)
        mfu = f", MFU {self._timing[MFU]:.0%}" if MFU in self._timing else ""
        self._bar.note(f"loss {values['loss']:.3f}{mfu}")
        if step % self._config.log.every_steps == 0 or step == self._config.steps:
            named = {f"train/{name}": value for name, value in values.items()}
            named.update({"data/replaced": replaced} if replaced else {})
            self._timing = self._since_last(step)
            self._writers.write(step, named, self._timing)

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """What evaluators found after a step."""
        if values:
            self._writers.write(step, values)
            progress.say(f"Step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in values.items()))

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The time of the body is none of the steps'."""
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self._elsewhere += spent
        self._since += spent

    def goodput(self) -> float:
        """Share of the time since the start that went into steps: not starting, compiling,
        evaluating or waiting for a save."""
        return 1.0 - self._elsewhere / (time.perf_counter() - self._began)

    def summary(self) -> str:
        """Goodput, and what steps reached in that share of the time."""
        said = f"{self.goodput():.0%} of the time went into steps"
        seconds = time.perf_counter() - self._began - self._elsewhere
        steps = self._latest - self._compiled_step
        if steps <= 0 or seconds <= 0:
            return said
        reached = self._reached(steps, seconds)
        said += f": {reached[IMAGES]:,.0f} images a second"
        return said + (f", MFU {reached[MFU]:.1%}" if MFU in reached else "")

    def _since_last(self, step: int) -> dict[str, float]:
        """Of the steps since the last that was written: no rate where there is none but the first,
        which compiles."""
        now, steps = time.perf_counter(), step - self._since_step
        seconds = max(now - self._since, 1e-9)
        self._since, self._since_step = now, step
        return {GOODPUT: self.goodput()} | (self._reached(steps, seconds) if steps > 0 else {})

    def _reached(self, steps: int, seconds: float) -> dict[str, float]:
        """What so many steps in that time come to."""
        found = {IMAGES: steps * self._config.batch_size / seconds}
        return found | ({MFU: steps * self._at_peak / seconds} if self._at_peak else {})
