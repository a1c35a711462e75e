"""The training loop, read from top to bottom."""

import time
from collections.abc import Mapping
from contextlib import ExitStack

import jax
from ml_collections import ConfigDict

from aligngap import devices, progress
from aligngap.data import pipeline
from aligngap.errors import Preempted, UsageError
from aligngap.evaluation.while_training import WhileTraining
from aligngap.parallel import distributed
from aligngap.parallel import mesh as meshes
from aligngap.runs import workdir
from aligngap.runs.checkpoints import Checkpoints
from aligngap.runs.position import Position
from aligngap.training import agreement
from aligngap.training import feed as feeds
from aligngap.training.agreement import Request
from aligngap.training.health import Health, Spike
from aligngap.training.interruption import Interruption
from aligngap.training.late import Late
from aligngap.training.log import Log
from aligngap.training.metrics import NoWriters, Writers
from aligngap.training.run import Run, restore
from aligngap.training.state import TrainState
from aligngap.training.watchdog import Watchdog


def train(run: Run) -> TrainState:
    """Trains to `config.steps` from wherever the workdir stands, and measures what evaluators do.

    Preempted after a signal and a save; AligngapError, naming the step, when loss or gradient stop
    being finite: the last checkpoint stays as it is.
    """
    watch = run.config.watchdog
    evaluators = WhileTraining(run.config, run.module, run.tokenizer, run.mesh)
    with ExitStack() as stack:
        with distributed.together():
            if jax.process_index() == 0:
                stack.enter_context(workdir.alone(run.workdir))
                seen = pipeline.epochs(run.config, run.source)
                progress.say(f"All {run.config.steps:,} steps see {seen}")
                if run.packing:
                    progress.say(f"Of a device's batch, {run.packing}")
        interruption = stack.enter_context(Interruption())
        watchdog = stack.enter_context(Watchdog(watch.report_after_s, watch.end_after_s))
        stack.enter_context(jax.set_mesh(run.mesh))
        spike: Spike | None = None
        while True:
            try:
                return _train(run, evaluators, interruption, watchdog, spike)
            except Spike as found:
                spike = found
                progress.say("Rolling back to the last checkpoint and past the batches since then")


def _train(
    run: Run,
    evaluators: WhileTraining,
    interruption: Interruption,
    watchdog: Watchdog,
    spike: Spike | None,
) -> TrainState:
    """From the newest checkpoint to the end; after a spike, past the batches that led to it."""
    config, mesh = run.config, run.mesh
    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(run.workdir, config, writing=True))
        state, start = restore(run, checkpoints)
        start = start.rolled_back(spike.step, spike.start) if spike else start
        if start.step:
            progress.say(f"Continuing {run.workdir} from step {start.step}")
        log = stack.enter_context(Log(config, _writers(run, start), start.step, run.at_peak))
        health = Health(config, start)
        batches = pipeline.batches(
            config,
            run.source,
            run.tokenizer,
            first=start.step + start.skipped,
            rows=meshes.own_rows(config.batch_size, mesh),
        )
        feed = feeds.make(batches, config.batch_size, mesh, run.packing)
        asked = Request.NOTHING  # By any process, as the steps that were read say.
        replaced = start.replaced

        def see(step: int, values: dict[str, float]) -> None:
            nonlocal asked, replaced
            asked = max(asked, Request(int(values.pop("request"))))
            replaced += int(values.pop("replaced"))
            feed.agree(int(values.pop("need")))
            health.see(step, values)  # Raises where a run must not go on as it does.
            log.step(step, values, replaced)

        late = Late(see)

        def evaluate(step: int, names: tuple[str, ...]) -> dict[str, float]:
            late.read()
            with log.elsewhere():
                values = evaluators(state.eval_params, names)
            log.measured(step, values)
            return _best(config, names, values)

        missed = start.step == 0 or not start.evaluated
        if missed and (due := evaluators.due(start.step)):
            evaluate(start.step, due)
        saved_step, saved_at = start.step, time.monotonic()

        for step in range(start.step + 1, config.steps + 1):
            # Goes to the devices while they work on the step before, whose metrics are read below.
            fed = next(feed)
            own = _own_request(interruption, config, saved_at)
            requests = agreement.requests(own, mesh, fed.replaced, fed.need)
            state, metrics = run.compiled_step(state, fed.batch, requests)
            if step == start.step + 1:
                log.compiled(metrics)
            if not devices.steps_ahead():
                jax.block_until_ready(state)
            late.put(step, metrics)  # Reads those of the step before.
            request, asked = asked, Request.NOTHING
            watchdog.beat(step)

            last = step == config.steps
            stop = request is Request.STOP
            due = evaluators.due(step)
            best = evaluate(step, due) if due and not stop else {}

            # A request is heard one step late: that of the step before a save has been met by it.
            by_request = request is Request.SAVE and step > saved_step + 1
            every = step % config.checkpoint.every_steps == 0
            if stop or last or best or by_request or every:
                late.read()  # A state is saved only once its own step is known to be finite.
                now = start.after(
                    step,
                    evaluated=not (due and stop),
                    losses=health.losses,
                    replaced=replaced,
                )
                with log.elsewhere():
                    checkpoints.save(step, state, now.saved(config), best)
                saved_step, saved_at = step, time.monotonic()
            if stop:
                raise Preempted(
                    f"{interruption.received or 'another process was told to stop'}: step {step} "
                    "is saved; the same command goes on from there"
                )
        late.read()
        if config.steps > start.step:
            progress.say(log.summary())
    return state


def _best(
    config: ConfigDict, names: tuple[str, ...], measured: Mapping[str, float]
) -> dict[str, float]:
    """The value that decides which checkpoint is the best, where one is named and was measured.

    UsageError where none of these evaluators, nor one that was not due, is its own.
    """
    best = config.checkpoint.best
    if best in measured:
        return {best: measured[best]}
    later = [
        name
        for name, entry in config.evaluators.items()
        if entry.get("every_steps", 0) and name not in names and f"/{name}/" in best
    ]
    if best and not later:
        raise UsageError(f"checkpoint.best={best!r} is not measured; one of {', '.join(measured)}")
    return {}


def _own_request(interruption: Interruption, config: ConfigDict, saved_at: float) -> Request:
    if interruption.received:
        return Request.STOP
    minutes = config.checkpoint.every_minutes
    due = minutes and time.monotonic() - saved_at >= 60 * minutes
    return Request.SAVE if due else Request.NOTHING


def _writers(run: Run, start: Position) -> Writers | NoWriters:
    if jax.process_index():
        return NoWriters()
    return Writers(run.workdir, run.config.to_dict(), start.step, start.evaluated)
