"""What a run is made of before its first step, and where it stands when it is started again."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from aligngap import devices, progress
from aligngap.config import data_dir
from aligngap.data import corpora, fit, packing_plan, pipeline, records, sentences, tokenizers
from aligngap.data.packing_plan import Plan
from aligngap.data.records import Source
from aligngap.data.sentences import SentenceEncoder
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError
from aligngap.evaluation import evaluator
from aligngap.models import dual_encoder
from aligngap.models.dual_encoder import DualEncoder
from aligngap.parallel import distributed
from aligngap.parallel import mesh as meshes
from aligngap.runs import initial, position, workdir
from aligngap.runs.checkpoints import Checkpoints, Damaged
from aligngap.runs.initial import InitialModel
from aligngap.runs.position import Position
from aligngap.training import agreement, frozen, metrics, model_flops, optimizer, remat, state
from aligngap.training.state import TrainState
from aligngap.training.step import make_step


@dataclass(frozen=True)
class Learner:
    """What learns: model, optimiser and mesh, and what helps them in a step, without data."""

    config: ConfigDict
    mesh: Mesh
    module: DualEncoder
    tx: optax.GradientTransformation
    abstract: TrainState  # Shapes, dtypes and logical axis names.
    encoder: SentenceEncoder | None  # What captions mean, where the step is to say it.
    packing: Plan | None  # Of its captions, where they are packed and their lengths known.

    @cached_property
    def layout(self) -> Any:
        """Where each array of the state lies on the mesh."""
        return meshes.shardings(self.abstract, self.mesh)

    @cached_property
    def compiled_step(self) -> Callable[..., Any]:
        """The pure step, jitted with its state donated, laid out on the mesh by the rules."""
        step = agreement.with_request(make_step(self.config, self.module, self.tx))
        out = (self.layout, meshes.replicated(self.mesh))
        if self.encoder is None:
            return jax.jit(meshes.with_rules(step), donate_argnums=0, out_shardings=out)
        step = frozen.with_semantics(step, self.encoder.module, self.config.microbatches)
        compiled = jax.jit(meshes.with_rules(step), donate_argnums=1, out_shardings=out)
        return partial(compiled, frozen.placed(self.encoder.params, self.mesh))

    def lowered(self, *inputs: Any) -> Any:
        """The step for these inputs: state, batch and requests, or their shapes with shardings."""
        step: Any = self.compiled_step
        held = step.args if isinstance(step, partial) else ()  # The frozen sentence encoder.
        return getattr(step, "func", step).lower(*held, *inputs)

    def under(self, config: ConfigDict, packing: Plan | None) -> "Learner":
        """The same by a config of another remat policy, with captions packed by a plan."""
        module = dual_encoder.make(config)
        return dataclasses.replace(self, config=config, module=module, packing=packing)

    def step_bytes(self, **options: Any) -> float:
        """Bytes on a device while the compiled step runs: state, batch and what it makes of them;
        of packed captions, in the shape that nearly all steps have.

        Compiling is no loss: the first step finds it done. Infinite where XLA says that it cannot.
        `options` are the compiler's.
        """
        own, plan = records.SEMANTICS if records.rescales(self.config) else 0, self.packing
        packed = plan.shapes(plan.counts[0]) if plan else {}
        shapes = records.batch_shapes(self.config, own) | packed
        batch = {name: jax.ShapeDtypeStruct(*array) for name, array in shapes.items()}
        over = dict.fromkeys(batch, meshes.batch_sharding(self.mesh))
        state = meshes.placed(nn.unbox(self.abstract), self.layout)
        requests = agreement.requests(agreement.Request.NOTHING, self.mesh)
        with jax.set_mesh(self.mesh):
            lowered = self.lowered(state, meshes.placed(batch, over), requests)
            try:
                found = lowered.compile(compiler_options=options).memory_analysis()
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                return math.inf
        inside = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
        return float(found.argument_size_in_bytes + inside)

    def load(self, checkpoints: Checkpoints, step: int) -> tuple[TrainState, Position]:
        """What was saved after `step`; Damaged where it is not what was saved."""
        restored, saved = checkpoints.restore(step, self.abstract, self.layout)
        return restored, position.read(saved, self.config)


@dataclass(frozen=True)
class Run(Learner):
    """A learner with its folder and what it learns from."""

    workdir: Path
    tokenizer: Tokenizer
    source: Source  # The training split.
    initial: InitialModel | None = None  # Where it starts, in a folder without checkpoint.

    @cached_property
    def at_peak(self) -> float | None:
        """Seconds that a step would take at the devices' peak; None where that is not known."""
        if not (peak := devices.peak(self.config.compute_dtype)):
            return None
        encoder = self.encoder.module if self.encoder else None
        return sum(model_flops.parts(self.config, encoder, self.packing).values()) / peak


def learner(config: ConfigDict) -> Learner:
    """UsageError where the mesh does not fit devices, batch or a parameter, or the text tower its
    tokenizer."""
    tokenizers.check(config)
    mesh = meshes.make(config)
    meshes.check_batch(config.batch_size, mesh, config.microbatches)
    module, tx = dual_encoder.make(config), optimizer.make(config)
    abstract = state.abstract(config, module, tx)
    meshes.shardings(abstract, mesh)
    return Learner(config, mesh, module, tx, abstract, _encoder(config), None)


def reopen(folder: Path) -> Learner:
    """The learner of a run's folder on whatever devices there are, to look at its checkpoints."""
    config = workdir.read_config(folder)
    config.mesh.update(data=-1, fsdp=1, tensor=1)
    mesh = meshes.make(config)
    module, tx = dual_encoder.make(config), optimizer.make(config)
    return Learner(config, mesh, module, tx, state.abstract(config, module, tx), None, None)


def prepare(config: ConfigDict, folder: Path) -> Run:
    """Checks everything that can be wrong before the workdir is touched, then claims it."""
    made, tokenizer = learner(config), None
    optimizer.check(config, made.abstract.params)
    source = corpora.open_train(config)
    evaluator.check(config, training=True)
    pipeline.check(config, source)
    start = None if _has_checkpoint(config, folder) else initial.find(config)
    with distributed.together():
        if jax.process_index() == 0:
            tokenizer = _tokenizer(config, folder, source, start)
            workdir.check(folder, config)
    packing = _plan(config, made.mesh, source, tokenizer)
    made = remat.fitted(config, partial(made.under, packing=packing))
    config = made.config
    with distributed.together():
        if tokenizer is not None:  # In the first process.
            with _while_nobody_trains(folder):
                workdir.claim(folder, config)
                if not tokenizers.held(config, folder / "tokenizer"):
                    tokenizer.save(folder / "tokenizer")
    tokenizer = tokenizers.reopen(config, folder / "tokenizer")
    if jax.process_index() == 0:
        for misfit in fit.misfits(config, source, tokenizer):
            progress.say(f"WARNING: {misfit}")
    own = (made.config, made.mesh, made.module, made.tx, made.abstract, made.encoder, packing)
    run = Run(*own, folder, tokenizer, source, start)
    vars(run).update(vars(made))  # The step too, where it is compiled.
    return run


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
            found = run.load(checkpoints, step)
        except Damaged as error:
            damaged[step] = error
            progress.say(f"WARNING: {error}")
            continue
        for each in damaged:
            checkpoints.set_aside(each)
        return found[0], _made_up(run, found[1])
    if damaged:
        raise AligngapError(
            f"none of the checkpoints in {run.workdir} can be used ({next(iter(damaged.values()))})"
        )
    return state.start(run.config, run.module, run.tx, run.mesh, run.initial), Position(0)


def _made_up(run: Run, position: Position) -> Position:
    """As metrics.jsonl says: an evaluation that a stop left undone may have been made up for."""
    if position.evaluated:
        return position
    found = jax.process_index() == 0 and metrics.measured(run.workdir, position.step)
    return dataclasses.replace(position, evaluated=distributed.of_first(found))


@contextmanager
def _while_nobody_trains(folder: Path) -> Iterator[None]:
    """What a live run's folder says of it stays; AligngapError where there is one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AligngapError(f"{folder} cannot be written: {error.strerror or error}") from None
    with workdir.alone(folder):
        yield


def _encoder(config: ConfigDict) -> SentenceEncoder | None:
    if not records.embeds_in_step(config):
        return None
    return sentences.load(config.data.semantics_model, data_dir(config.data.data_dir))


def _plan(
    config: ConfigDict, mesh: Mesh, source: Source, tokenizer: Tokenizer | None
) -> Plan | None:
    """How captions are packed, as the first process, which has a tokenizer, finds from the corpus;
    None: they are not."""
    if not config.data.pack_captions:
        return None
    groups, counts = meshes.groups(mesh, config.microbatches), None
    with distributed.together():
        if tokenizer is not None:
            counts = packing_plan.counts(config, source, tokenizer, groups)
    return packing_plan.make(config, groups, tuple(distributed.of_first(counts)))


def _has_checkpoint(config: ConfigDict, folder: Path) -> bool:
    """Whether a checkpoint says where the run stands, so that no other model is needed."""
    if not config.init_from or not (folder / "checkpoints").is_dir():
        return False
    with Checkpoints(folder, config) as checkpoints:
        return bool(checkpoints.steps())


def _tokenizer(
    config: ConfigDict, folder: Path, source: Source, start: InitialModel | None
) -> Tokenizer:
    """The tokenizer that the run's folder holds, or that of the model it starts from, or new."""
    path = folder / "tokenizer"
    if tokenizers.held(config, path):
        return tokenizers.reopen(config, path)
    if taken := initial.tokenizer(config, start):
        return taken
    return tokenizers.make(config, records.texts_of(source))
