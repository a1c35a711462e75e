"""The training loop, read from top to bottom."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.data import pipeline, vocabulary
from aligngap.data.vocabulary import AnyTokenizer
from aligngap.errors import AligngapError
from aligngap.models import dual_encoder
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import mesh as meshes
from aligngap.training import optimizer, state, workdir
from aligngap.training.checkpoints import Checkpoints
from aligngap.training.metrics import NoWriters, Writers
from aligngap.training.state import TrainState
from aligngap.training.step import make_step

Evaluator = Callable[[Any], Iterable[tuple[str, float]]]


@dataclass(frozen=True)
class Run:
    """What a run is made of, before its first step."""

    config: ConfigDict
    workdir: Path
    mesh: Mesh
    model: DualEncoder
    tx: optax.GradientTransformation
    tokenizer: AnyTokenizer
    source: Any  # The training split.


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
    words = _tokenizer(config, folder, source)
    workdir.claim(folder, config)
    if not vocabulary.held(config, folder / "tokenizer"):
        words.save(folder / "tokenizer")
    return Run(config, folder, mesh, model, tx, words, source)


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
    return Run(config, folder, mesh, model, tx, words, source)


def restore(run: Run, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """The newest checkpoint on this run's mesh, or a fresh state at step 0."""
    kept = checkpoints.steps()
    if not kept:
        return state.create(run.config, run.model, run.tx, run.mesh), 0
    if kept[-1] == 0:
        raise AligngapError(f"{run.workdir} holds an imported model; give a run another --workdir")
    return load_state(run, checkpoints, kept[-1]), kept[-1]


def load_state(run: Run, checkpoints: Checkpoints, step: int) -> TrainState:
    """The state saved after `step`; AligngapError where its position in the data is another."""
    abstract = state.abstract(run.config, run.model, run.tx)
    layout = meshes.shardings(abstract, run.mesh)
    restored, position = checkpoints.restore(step, abstract, layout)
    if position != _position(run.config, step):
        raise AligngapError(
            f"checkpoint of step {step} in {run.workdir} stands at {position} in the data; "
            f"this config puts it at {_position(run.config, step)}"
        )
    return restored


def train(run: Run, evaluators: Mapping[str, Evaluator]) -> TrainState:
    """Trains to `config.steps` from wherever the workdir stands; evaluators run every n steps.

    AligngapError, naming the step, when loss or gradient stop being finite: the last checkpoint
    stays as it is.
    """
    config, mesh = run.config, run.mesh
    with ExitStack() as stack:
        stack.enter_context(workdir.alone(run.workdir))
        checkpoints = stack.enter_context(Checkpoints(run.workdir, config, writing=True))
        current, start = restore(run, checkpoints)
        if start:
            progress.say(f"Continuing {run.workdir} from step {start}")
        log = stack.enter_context(_Log(run, start))
        batches = pipeline.batches(
            config,
            run.source,
            run.tokenizer,
            start_step=start,
            process=jax.process_index(),
            processes=jax.process_count(),
        )
        step_function = compiled_step(run)
        # Several simulated devices of one CPU deadlock when a second step is dispatched.
        one_at_a_time = jax.default_backend() == "cpu" and jax.device_count() > 1
        stack.enter_context(jax.set_mesh(mesh))
        if start == 0:
            log.evaluate(0, current, evaluators)
        for step in range(start + 1, config.steps + 1):
            batch = meshes.global_batch(next(batches), mesh)
            current, metrics = step_function(current, batch)
            if one_at_a_time:
                jax.block_until_ready(current)
            log.step(step, metrics)
            last = step == config.steps
            if last or step % config.evaluation.every_steps == 0:
                log.evaluate(step, current, evaluators)
            if last or step % config.checkpoint.every_steps == 0:
                log.settle()  # A state is saved only once its own step is known to be finite.
                checkpoints.save(step, current, _position(config, step))
        log.settle()
    return current


class _Log:
    """Metrics, read one step late so that dispatch never waits for them, and the progress bar."""

    def __init__(self, run: Run, start: int) -> None:
        self._config, self._start = run.config, start
        first = jax.process_index() == 0
        self._writers = Writers(run.workdir, run.config.to_dict(), start) if first else NoWriters()
        self._bar = progress.Bar(
            f"Training {run.config.name}",
            run.config.steps * run.config.batch_size,
            "images",
            start * run.config.batch_size,
        )
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
        self._since, self._since_step = time.perf_counter(), start

    def __enter__(self) -> "_Log":
        self._writers.__enter__()
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)
        self._writers.__exit__(*error)

    def step(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes this step's metrics and settles those of the step before."""
        self.settle()
        self._pending = (step, metrics)

    def settle(self) -> None:
        """Waits for the pending metrics, checks that they are finite, writes every n-th."""
        if self._pending is None:
            return
        (step, arrays), self._pending = self._pending, None
        values = {name: float(value) for name, value in jax.device_get(arrays).items()}
        self._bar.advance(self._config.batch_size)
        self._bar.note(f"loss {values['loss']:.3f}")
        # The loss and its gradient are of the parameters before the step, the update is the step's.
        for name in ("loss", "gradient_norm", "update_norm"):
            if not math.isfinite(values[name]):
                raise AligngapError(
                    f"{name} is {values[name]} at step {step}; the last good checkpoint is kept. "
                    "Start a new --workdir with a lower optimizer.peak_lr or an optimizer.clip_norm"
                )
        if step % self._config.log.every_steps == 0 or step == self._config.steps:
            named = {f"train/{name}": value for name, value in values.items()}
            self._writers.write(step, named, self._timing(step))

    def evaluate(self, step: int, current: TrainState, evaluators: Mapping[str, Evaluator]) -> None:
        """Runs every evaluator on the (averaged) parameters and writes what it yields."""
        self.settle()
        values = {
            f"{name}/{key}": value
            for name, evaluator in evaluators.items()
            for key, value in evaluator(current.eval_params)
        }
        if values:
            self._writers.write(step, values)
            progress.say(f"Step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in values.items()))
        self._since, self._since_step = time.perf_counter(), step

    def _timing(self, step: int) -> dict[str, float]:
        now = time.perf_counter()
        rate = (step - self._since_step) * self._config.batch_size / max(now - self._since, 1e-9)
        self._since, self._since_step = now, step
        return {"timing/images_per_second": rate}


def compiled_step(run: Run) -> Callable[..., Any]:
    """The pure step, jitted with its state donated, laid out on the mesh by the rules."""
    layout = meshes.shardings(state.abstract(run.config, run.model, run.tx), run.mesh)
    return jax.jit(
        meshes.with_rules(make_step(run.config, run.model, run.tx)),
        donate_argnums=0,
        out_shardings=(layout, meshes.replicated(run.mesh)),
    )


def _position(config: ConfigDict, step: int) -> dict[str, int]:
    """Where the data stands after a step: a function of the step, saved to be checked."""
    return {"examples": step * config.batch_size, "seed": config.seed}


def _tokenizer(config: ConfigDict, folder: Path, source: Any) -> AnyTokenizer:
    """The tokenizer that the run's folder holds, or a new one for a run that starts."""
    path = folder / "tokenizer"
    if vocabulary.held(config, path):
        return vocabulary.reopen(config, path)
    captions = (text for row in range(len(source)) for text in pipeline.captions(source[row]))
    return vocabulary.make(config, captions)
