"""What a run says while it runs: its values, the progress bar, where time went."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.training.metrics import NoWriters, Writers


class Log:
    """A context manager; the loop tells it what happened, and it decides nothing."""

    def __init__(self, config: ConfigDict, writers: Writers | NoWriters, start: int) -> None:
        self._config, self._writers = config, writers
        self._bar = progress.Bar(
            f"Training {config.name}",
            config.steps * config.batch_size,
            "images",
            start * config.batch_size,
        )
        self._began = self._since = time.perf_counter()
        self._since_step, self._elsewhere = start, 0.0

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
        self._elsewhere = time.perf_counter() - self._began

    def step(self, step: int, values: Mapping[str, float], replaced: int = 0) -> None:
        """A step's values: on the bar, and every n-th time written; with data/replaced, how many
        rows up to here, of all processes, stood in for records that could not be read, if any."""
        self._bar.advance(self._config.batch_size)
        self._bar.note(f"loss {values['loss']:.3f}")
        if step % self._config.log.every_steps == 0 or step == self._config.steps:
            named = {f"train/{name}": value for name, value in values.items()}
            named.update({"data/replaced": replaced} if replaced else {})
            self._writers.write(step, named, self._timing(step))

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """What evaluators found after a step."""
        if values:
            self._writers.write(step, values)
            progress.say(f"Step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in values.items()))
        self._since, self._since_step = time.perf_counter(), step

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The time of the body is none of the steps'."""
        started = time.perf_counter()
        yield
        self._elsewhere += time.perf_counter() - started

    def goodput(self) -> float:
        """Share of the time since the start that went into steps: not starting, compiling,
        evaluating or waiting for a save."""
        return 1.0 - self._elsewhere / (time.perf_counter() - self._began)

    def _timing(self, step: int) -> dict[str, float]:
        now = time.perf_counter()
        rate = (step - self._since_step) * self._config.batch_size / max(now - self._since, 1e-9)
        self._since, self._since_step = now, step
        return {"timing/images_per_second": rate, "timing/goodput": self.goodput()}
