"""What a run says while it runs: metrics read one step late, the progress bar, where time went."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.training.agreement import Request
from aligngap.training.health import Health
from aligngap.training.metrics import NoWriters, Writers
from aligngap.training.state import TrainState

Evaluator = Callable[[Any], Iterable[tuple[str, float]]]


class Log:
    """A context manager; `step` takes each step's metrics and settles those of the step before, so
    that dispatch never waits for them."""

    def __init__(
        self, config: ConfigDict, writers: Writers | NoWriters, start: int, health: Health
    ) -> None:
        self._config, self._writers, self._health = config, writers, health
        self._bar = progress.Bar(
            f"Training {config.name}",
            config.steps * config.batch_size,
            "images",
            start * config.batch_size,
        )
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
        self._request = Request.NOTHING
        self._began = self._since = time.perf_counter()
        self._since_step, self._elsewhere, self._compiling = start, 0.0, True

    def __enter__(self) -> "Log":
        self._writers.__enter__()
        self._bar.__enter__()
        return self

    def __exit__(self, error: type[BaseException] | None, *rest: object) -> None:
        self._bar.__exit__(error, *rest)
        self._writers.__exit__(error, *rest)

    def step(self, step: int, metrics: Mapping[str, jax.Array]) -> Request:
        """Takes this step's metrics; returns what all processes wished up to the step before."""
        if self._compiling:  # What the first step compiled is no progress.
            jax.block_until_ready(metrics)
            self._elsewhere = time.perf_counter() - self._began
            self._compiling = False
        self.settle()
        self._pending = (step, metrics)
        request, self._request = self._request, Request.NOTHING
        return request

    def settle(self) -> None:
        """Waits for the pending metrics, sees to their health, writes every n-th."""
        if self._pending is None:
            return
        (step, arrays), self._pending = self._pending, None
        values = {name: float(value) for name, value in jax.device_get(arrays).items()}
        self._request = max(self._request, Request(int(values.pop("request"))))
        self._bar.advance(self._config.batch_size)
        self._bar.note(f"loss {values['loss']:.3f}")
        self._health.see(step, values)
        if step % self._config.log.every_steps == 0 or step == self._config.steps:
            named = {f"train/{name}": value for name, value in values.items()}
            self._writers.write(step, named, self._timing(step))

    def evaluate(
        self, step: int, current: TrainState, evaluators: Mapping[str, Evaluator]
    ) -> dict[str, float]:
        """Runs every evaluator on the (averaged) parameters and writes what it yields."""
        self.settle()
        with self.elsewhere():
            values = {
                f"{name}/{key}": value
                for name, evaluator in evaluators.items()
                for key, value in evaluator(current.eval_params)
            }
        if values:
            self._writers.write(step, values)
            progress.say(f"Step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in values.items()))
        self._since, self._since_step = time.perf_counter(), step
        return values

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The time of the body is none of the steps'."""
        begun = time.perf_counter()
        yield
        self._elsewhere += time.perf_counter() - begun

    def goodput(self) -> float:
        """Share of the time since the start that went into steps: not starting, compiling,
        evaluating or waiting for a save."""
        return 1.0 - self._elsewhere / (time.perf_counter() - self._began)

    def _timing(self, step: int) -> dict[str, float]:
        now = time.perf_counter()
        rate = (step - self._since_step) * self._config.batch_size / max(now - self._since, 1e-9)
        self._since, self._since_step = now, step
        return {"timing/images_per_second": rate, "timing/goodput": self.goodput()}
