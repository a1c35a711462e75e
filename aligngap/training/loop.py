"""The training loop, read from top to bottom."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.data import pipeline, vocabulary
from aligngap.data.vocabulary import AnyTokenizer
from aligngap.errors import AligngapError, Preempted, UsageError
from aligngap.models import dual_encoder
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import distributed
from aligngap.parallel import mesh as meshes
from aligngap.runs import position, workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.runs.position import Position
from aligngap.training import agreement, initial, optimizer, state
from aligngap.training.agreement import Request
from aligngap.training.health import Health, Spike
from aligngap.training.initial import Source
from aligngap.training.interruption import Interruption
from aligngap.training.log import Evaluator, Log
from aligngap.training.metrics import NoWriters, Writers
from aligngap.training.state import TrainState
from aligngap.training.step import make_step
from aligngap.training.watchdog import Watchdog


@dataclass(frozen=True)
class Run:
    """What a run is made of, before its first step."""

    config: ConfigDict
    workdir: Path
    mesh: Mesh
    model: DualEncoder
    tx: optax.GradientTransformation
    abstract: TrainState  # Shapes, dtypes and logical axis names.
    tokenizer: AnyTokenizer
    source: Any  # The training split.
    beginning: Source | None = None  # A model to start from, in a workdir without checkpoint.

    @cached_property
    def layout(self) -> Any:
        """Where each array of the state lies on the mesh."""
        return meshes.shardings(self.abstract, self.mesh)

    @cached_property
    def compiled_step(self) -> Callable[..., Any]:
        """The pure step, jitted with its state donated, laid out on the mesh by the rules."""
        step = agreement.with_request(make_step(self.config, self.model, self.tx))
        out = (self.layout, meshes.replicated(self.mesh))
        return jax.jit(meshes.with_rules(step), donate_argnums=0, out_shardings=out)


def prepare(config: ConfigDict, folder: Path) -> Run:
    """Checks everything that can be wrong before the workdir is touched, then claims it."""
    mesh = meshes.make(config)
    meshes.check_batch(config.batch_size, mesh, config.microbatches)
    model, tx = dual_encoder.make(config), optimizer.make(config)
    abstract = state.abstract(config, model, tx)
    meshes.shardings(abstract, mesh)
    optimizer.check(config, abstract.params)
    source = pipeline.open_split(config, config.data.train_split)
    for split in (config.data.validation_split, *config.data.test_splits):
        pipeline.open_split(config, split)
    pipeline.own_semantics(config, len(source))
    beginning = None if _begun(config, folder) else initial.find(config)
    with distributed.together():
        if jax.process_index() == 0:
            words = _tokenizer(config, folder, source, beginning)
            workdir.claim(folder, config)
            if not vocabulary.held(config, folder / "tokenizer"):
                words.save(folder / "tokenizer")
    words = vocabulary.reopen(config, folder / "tokenizer")
    return Run(config, folder, mesh, model, tx, abstract, words, source, beginning)


def reopen(folder: Path, data_dir: str = "") -> Run:
    """The run that a workdir holds, to look at it on whatever devices there are.

    `data_dir` is where its corpus is now, if not where it was trained.
    """
    config = workdir.read_config(folder)
    config.mesh.update(data=-1, fsdp=1, tensor=1)
    config.data.data_dir = data_dir or config.data.data_dir
    mesh = meshes.make(config)
    model, tx = dual_encoder.make(config), optimizer.make(config)
    source = pipeline.open_split(config, config.data.train_split)
    words = vocabulary.reopen(config, folder / "tokenizer")
    abstract = state.abstract(config, model, tx)
    return Run(config, folder, mesh, model, tx, abstract, words, source)


def restore(run: Run, checkpoints: Checkpoints) -> tuple[TrainState, Position]:
    """The newest checkpoint that is whole, on this run's mesh, or a fresh state at step 0.

    Damaged ones are told of and set aside; AligngapError where none is whole.
    """
    damaged: dict[int, Damaged] = {}
    for step in reversed(checkpoints.steps()):
        if step == 0:
            raise AligngapError(
                f"{run.workdir} holds an imported model: give a run a --workdir of its own and "
                f"--init_from={run.workdir}"
            )
        try:
            found = _load(run, checkpoints, step)
        except Damaged as error:
            damaged[step] = error
            progress.say(f"WARNING: {error}")
            continue
        for each in damaged:
            checkpoints.set_aside(each)
        return found
    if damaged:
        raise AligngapError(
            f"none of the checkpoints in {run.workdir} can be used ({next(iter(damaged.values()))})"
        )
    fresh = initial.create(run.config, run.model, run.tx, run.mesh, run.beginning)
    return fresh, Position(0)


def load_state(run: Run, checkpoints: Checkpoints, step: int) -> TrainState:
    """The state saved after `step`; Damaged where it is not what was saved."""
    return _load(run, checkpoints, step)[0]


def _load(run: Run, checkpoints: Checkpoints, step: int) -> tuple[TrainState, Position]:
    restored, saved = checkpoints.restore(step, run.abstract, run.layout)
    return restored, position.read(saved, run.config)


def train(run: Run, evaluators: Mapping[str, Evaluator]) -> TrainState:
    """Trains to `config.steps` from wherever the workdir stands; evaluators run every n steps.

    Preempted after a signal and a save; AligngapError, naming the step, when loss or gradient stop
    being finite: the last checkpoint stays as it is.
    """
    watch = run.config.watchdog
    with ExitStack() as stack:
        with distributed.together():
            if jax.process_index() == 0:
                stack.enter_context(workdir.alone(run.workdir))
        interruption = stack.enter_context(Interruption())
        watchdog = stack.enter_context(Watchdog(watch.report_after_s, watch.end_after_s))
        stack.enter_context(jax.set_mesh(run.mesh))
        spike: Spike | None = None
        while True:
            try:
                return _attempt(run, evaluators, interruption, watchdog, spike)
            except Spike as found:
                spike = found
                progress.say("Rolling back to the last checkpoint and past the batches since then")


def _attempt(
    run: Run,
    evaluators: Mapping[str, Evaluator],
    interruption: Interruption,
    watchdog: Watchdog,
    spike: Spike | None,
) -> TrainState:
    """From the newest checkpoint to the end; after a spike, past the batches that led to it."""
    config, mesh = run.config, run.mesh
    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(run.workdir, config, writing=True))
        current, begun = restore(run, checkpoints)
        begun = begun.past(spike.step, spike.begun) if spike else begun
        if begun.step:
            progress.say(f"Continuing {run.workdir} from step {begun.step}")
        health = Health(config, begun)
        log = stack.enter_context(Log(config, _writers(run, begun), begun.step, health))
        batches = pipeline.batches(
            config,
            run.source,
            run.tokenizer,
            first=begun.step + begun.skipped,
            rows=meshes.own_rows(config.batch_size, mesh),
        )
        # Several simulated devices of one CPU deadlock when a second step is dispatched.
        one_at_a_time = jax.default_backend() == "cpu" and jax.device_count() > 1
        if begun.step == 0 or not begun.evaluated:
            _best(config, log.evaluate(begun.step, current, evaluators))
        saved_at, saved_step = time.monotonic(), begun.step
        for step in range(begun.step + 1, config.steps + 1):
            batch = meshes.global_batch(next(batches), config.batch_size, mesh)
            wishes = agreement.wish(_wish(interruption, config, saved_at), mesh)
            current, metrics = run.compiled_step(current, batch, wishes)
            if one_at_a_time:
                jax.block_until_ready(current)
            request = log.step(step, metrics)
            watchdog.beat(step)
            last, best = step == config.steps, {}
            due = last or step % config.evaluation.every_steps == 0
            stop = request is Request.STOP
            if due and not stop:
                best = _best(config, log.evaluate(step, current, evaluators))
            # A wish is heard one step late: that of the step before a save has been met by it.
            asked = request is Request.SAVE and step > saved_step + 1
            if stop or last or asked or step % config.checkpoint.every_steps == 0:
                log.settle()  # A state is saved only once its own step is known to be finite.
                now = begun.after(step, evaluated=not (due and stop), losses=health.losses)
                with log.elsewhere():
                    checkpoints.save(step, current, now.saved(config), best)
                saved_at, saved_step = time.monotonic(), step
            if stop:
                raise Preempted(
                    f"{interruption.received or 'another process was told to stop'}: step {step} "
                    "is saved; the same command goes on from there"
                )
        log.settle()
        if config.steps > begun.step:
            progress.say(f"{log.goodput():.0%} of the time went into steps")
    return current


def _best(config: ConfigDict, measured: Mapping[str, float]) -> dict[str, float]:
    """The value that decides which checkpoint is the best, where one is named."""
    name = config.checkpoint.best
    if name and name not in measured:
        raise UsageError(f"checkpoint.best={name!r} is not measured; one of {', '.join(measured)}")
    return {name: measured[name]} if name else {}


def _wish(interruption: Interruption, config: ConfigDict, saved_at: float) -> Request:
    if interruption.received:
        return Request.STOP
    minutes = config.checkpoint.every_minutes
    due = minutes and time.monotonic() - saved_at >= 60 * minutes
    return Request.SAVE if due else Request.NOTHING


def _writers(run: Run, begun: Position) -> Writers | NoWriters:
    if jax.process_index():
        return NoWriters()
    return Writers(run.workdir, run.config.to_dict(), begun.step, begun.evaluated)


def _begun(config: ConfigDict, folder: Path) -> bool:
    """Whether a checkpoint says where the run stands, so that no other model is needed."""
    if not config.init_from or not (folder / "checkpoints").is_dir():
        return False
    with Checkpoints(folder, config) as checkpoints:
        return bool(checkpoints.steps())


def _tokenizer(
    config: ConfigDict, folder: Path, source: Any, beginning: Source | None
) -> AnyTokenizer:
    """The tokenizer that the run's folder holds, or that of the model it starts from, or new."""
    path = folder / "tokenizer"
    if vocabulary.held(config, path):
        return vocabulary.reopen(config, path)
    if taken := initial.words(config, beginning):
        return taken
    captions = (text for row in range(len(source)) for text in pipeline.captions(source[row]))
    return vocabulary.make(config, captions)
