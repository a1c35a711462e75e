"""A training step as training runs it, compiled and timed, without a run's folder."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from aligngap import devices
from aligngap.data import packing, packing_plan, records
from aligngap.data.packing_plan import Plan
from aligngap.data.records import Batch
from aligngap.data.sentence_models import ABSENT
from aligngap.parallel import mesh as meshes
from aligngap.training import agreement, feed, model_flops, remat, run, state
from aligngap.training.agreement import Request
from aligngap.training.late import Late
from aligngap.training.run import Learner
from aligngap.unit import unit_rows_numpy

WARM = 2  # Steps before the first that counts.
TOKENS, SPREAD = 12, 0.5  # Of a random caption: median, and σ of the logarithm.


class Round(NamedTuple):
    """Some steps in a row."""

    seconds: float  # A step; on an accelerator from one's end to the next's.
    waited: float  # Of them for the next batch.
    loss: float  # Of the last.


class Memory(NamedTuple):
    """Bytes on one device, as XLA's compiler plans them; peak as the allocator saw it."""

    temporary: int
    arguments: int  # State and batch.
    peak: int | None


class MeasuredStep:
    """`round` trains some steps from where the last ended, on the same batch over and over or on
    those of an iterator; packed and copied to the devices, and "auto" decided, as in training."""

    def __init__(self, config: ConfigDict, batches: Iterator[Batch] | None = None) -> None:
        made = run.learner(config)
        self.batches = batches or itertools.repeat(random_batch(made))
        first = next(self.batches)
        packing = _plan(made, first) if config.data.pack_captions else None
        self.learner = made = remat.fitted(config, partial(made.under, packing=packing))
        self.config = made.config
        with jax.set_mesh(self.mesh):
            self.state = state.create(self.config, made.module, made.tx, made.mesh)
            start = time.perf_counter()
            lowered = made.lowered(self.state, self.placed(first), self._requests())
            self.lowering = time.perf_counter() - start
            self.executable = lowered.compile()
            self.compiling = time.perf_counter() - start - self.lowering
        self.first_loss = self.round(1).loss
        self.round(WARM - 1)

    @property
    def mesh(self) -> jax.sharding.Mesh:
        return self.learner.mesh

    def placed(self, batch: Batch, parts: int = 1) -> dict[str, jax.Array]:
        """A batch, or one of the parts of one, on the devices as the training loop places it."""
        rows = meshes.global_batch(batch, self.config.batch_size // parts, self.mesh)
        if (plan := self.learner.packing) is None:
            return rows
        if parts > 1:
            plan = replace(plan, groups=plan.groups // parts, parts=1)
        captions = feed.laid_out(batch["text"], plan)
        return rows | feed.placed(captions, plan, self.mesh, captions.need)

    def model_flop(self) -> dict[str, float]:
        """What the model needs of a step, by part."""
        encoder, packing = self.learner.encoder, self.learner.packing
        return model_flops.parts(self.config, encoder.module if encoder else None, packing)

    def round(self, steps: int) -> Round:
        """The training loop's own steps: one in flight, metrics read a step late."""
        losses, ends, waited = [], [], 0.0

        def ended(_: int, values: dict[str, float]) -> None:
            losses.append(values["loss"])
            ends.append(time.perf_counter())

        late = Late(ended)
        with jax.set_mesh(self.mesh):
            start = time.perf_counter()
            for step in range(steps):
                asked = time.perf_counter()
                rows = next(self.batches)
                waited += time.perf_counter() - asked
                batch, requests = self.placed(rows), self._requests()
                self.state, metrics = self.learner.compiled_step(self.state, batch, requests)
                if not devices.steps_ahead():
                    jax.block_until_ready(self.state)
                late.put(step, metrics)
            late.read()
            jax.block_until_ready(self.state)
            seconds = (time.perf_counter() - start) / steps
        # In a run, all batches but the first are copied to an accelerator while a step runs.
        if jax.default_backend() != "cpu" and steps > 1:
            seconds = (ends[-1] - ends[0]) / (steps - 1)
        return Round(seconds, waited / steps, losses[-1])

    def memory(self) -> Memory:
        """Of the whole step."""
        planned = self.executable.memory_analysis()
        seen = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return Memory(planned.temp_size_in_bytes, planned.argument_size_in_bytes, seen)

    def _requests(self) -> jax.Array:
        return agreement.requests(Request.NOTHING, self.mesh)


def _plan(learner: Learner, batch: Batch) -> Plan:
    """How captions like those of this batch are packed."""
    config = learner.config
    groups = meshes.groups(learner.mesh, config.microbatches)
    counts = packing_plan.counts_of(config, packing.lengths(batch["text"]), groups)
    return packing_plan.make(config, groups, counts)


def random_batch(learner: Learner, seed: int = 0) -> Batch:
    """Arrays of `records.batch_shapes`: random pixels and tokens; captions of random lengths, whose
    end is repeated behind them as CLIP's tokenizer does."""
    config, random = learner.config, np.random.default_rng(seed)
    own = records.SEMANTICS if records.rescales(config) else 0
    found: Batch = {}
    for name, (shape, dtype) in records.batch_shapes(config, own).items():
        if name == "image":
            found[name] = random.integers(0, 256, shape, dtype)
        elif name == "semantics":
            found[name] = unit_rows_numpy(random.normal(size=shape).astype(dtype))
        elif name == "group":
            found[name] = np.arange(*shape, dtype=dtype)
        elif name == "sentence":
            assert learner.encoder is not None
            vocabulary = learner.encoder.module.shape.vocab_size
            found[name] = _captions(random, shape, vocabulary, ABSENT)
        else:
            found[name] = _captions(random, shape, config.model.text.vocab_size)
    return found


def _captions(
    random: np.random.Generator, shape: tuple[int, ...], vocabulary: int, behind: int | None = None
) -> np.ndarray:
    """int32 [B, L]: start, some tokens, end; then the end again, or `behind`."""
    rows, length = shape
    start, end = vocabulary - 2, vocabulary - 1
    lengths = np.exp(random.normal(np.log(TOKENS), SPREAD, rows)).round().clip(3, length)
    ids = random.integers(0, start, shape, np.int32)
    ids[:, 0] = start
    place = np.arange(length)
    ids[place == lengths[:, None] - 1] = end
    ids[place >= lengths[:, None]] = end if behind is None else behind
    return ids
