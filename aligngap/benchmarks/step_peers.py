"""Other programs that train the same model, measured in turn with `aligngap bench step`'s own.

Each is a process of benchmarks/peers/ that is started once, loads our initial weights and our batch
and then waits: in each round it does as many steps as ours, while all others wait. What it starts
from is checked: its first loss must be ours.
"""

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from aligngap import progress
from aligngap.benchmarks import peers, timing
from aligngap.benchmarks.measured_step import MeasuredStep
from aligngap.benchmarks.peers.step_job import StepJob
from aligngap.config import TERMS, default, keys
from aligngap.data.records import Batch
from aligngap.errors import AligngapError, UsageError
from aligngap.interop import mapping
from aligngap.interop.formats import huggingface, open_clip
from aligngap.training import state

BESIDE = (
    peers.ROOT / ".venv-open_clip" / "bin" / "python"
)  # Where open_clip is not among our packages.
LAST_WORDS = 3  # Lines of a program that failed.
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}  # Of the first loss, relative.
COLUMNS = "{:<22} {:>26} {:>12} {:>22}"


class Program(NamedTuple):
    """A program of benchmarks/peers/, whether it compiles its step, and what makes it run here."""

    room: str
    package: str
    compiled: bool
    install: str


_TRANSFORMERS = "pip install torch transformers"
_OPEN_CLIP = "pip install torch torchvision open_clip_torch==3.3.0, or bash launch/test.sh"
PROGRAMS = {
    "transformers": Program("step_transformers", "transformers", False, _TRANSFORMERS),
    "transformers_compiled": Program("step_transformers", "transformers", True, _TRANSFORMERS),
    "open_clip": Program("step_open_clip", "open_clip", False, _OPEN_CLIP),
    "open_clip_compiled": Program("step_open_clip", "open_clip", True, _OPEN_CLIP),
}


class Held:
    """A program that waits: `about` is what it says of itself once it has warmed up."""

    def __init__(self, name: str, job: StepJob, python: str, folder: Path) -> None:
        self._name, self._errors = name, (folder / f"{name}.log").open("w+", encoding="utf-8")
        path = folder / f"{name}.json"
        path.write_text(job.text(), encoding="utf-8")
        room = f"aligngap.benchmarks.peers.{PROGRAMS[name].room}"
        self._process = subprocess.Popen(
            [python, "-m", room, str(path)],
            env=peers.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.about = self._answer()

    def round(self, steps: int) -> float:
        """Seconds a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def end(self) -> None:
        """Its memory is free when this returns."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return dict(json.loads(line))
        self._process.wait()
        self._errors.seek(0)
        said = [line.strip() for line in self._errors.read().strip().splitlines()]
        raise AligngapError(f"{self._name} failed: {' / '.join(said[-LAST_WORDS:])}")


class SideBySide:
    """A context manager: the programs that are there are started, the others told of in a line."""

    def __init__(self, step: MeasuredStep, names: Sequence[str]) -> None:
        self._step, self._names = step, names
        self._stack, self._held = contextlib.ExitStack(), dict[str, Held]()
        self._ours: list[float] = []
        self._took: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            begin = beginning(self._step) if self._names else None
            for name in self._names:
                python = python_of(name)
                if python is None or begin is None:
                    progress.say(f"No {name} here: {PROGRAMS[name].install}")
                    continue
                progress.say(f"Starting {name}")
                self._held[name] = start(name, begin, python, folder)
                stack.callback(self._held[name].end)
                self._took[name] = []
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, steps: int) -> None:
        """A round of each; ours again after them, so that every ratio has one beside it."""
        for name, held in self._held.items():
            before = self._step.round(steps).seconds
            self._took[name].append(held.round(steps) / before)
            self._ours.append(before)

    def lines(self) -> Iterator[str]:
        """A table: a step's time of each over that of ours just before it."""
        if not self._held:
            return
        ours = statistics.median(self._ours)
        yield COLUMNS.format("program", "time, ours being 1", "parameters", "version")
        for name, held in self._held.items():
            ratios = self._took[name]
            counted = f"{held.about['parameters']:,}"
            ratio = timing.spread(ratios, ".2f")
            yield COLUMNS.format(name, ratio, counted, held.about["version"])
        yield f"A step of ours took {1e3 * ours:,.1f} ms at the median in these turns"

    def figures(self) -> dict[str, Any]:
        """name → ratios to ours, by round, and what the program says of itself."""
        return {
            name: {"ratios": self._took[name], **held.about} for name, held in self._held.items()
        }


def python_of(name: str) -> str | None:
    """The interpreter that has the program's packages: this one, or that of .venv-open_clip."""
    wanted = ("torch", PROGRAMS[name].package)
    known = f"from importlib import util; assert all(map(util.find_spec, {wanted}))"
    for python in filter(Path.exists, (Path(sys.executable), BESIDE)):
        if not subprocess.run([python, "-c", known], capture_output=True).returncode:
            return str(python)
    return None


class Beginning(NamedTuple):
    """Where all programs start: a config, its initial parameters, a batch, ours of their loss."""

    config: ConfigDict
    params: Any
    batch: Batch
    loss: float | None  # None: not known, so that theirs is not checked.


def beginning(step: MeasuredStep) -> Beginning:
    """Where a step of ours started, on the batch that it has over and over."""
    made = step.learner
    params = state.create(step.config, made.module, made.tx, made.mesh).params
    return Beginning(step.config, params, next(step.batches), step.first_loss)


def start(name: str, begin: Beginning, python: str, folder: Path, device: str = "") -> Held:
    """The program, warm, on torch's device of that name (default: ours). UsageError for a config
    that it cannot express, AligngapError where it fails or its first loss is not ours."""
    config, package = begin.config, PROGRAMS[name].package
    own = folder / package
    asked = job(config, own, PROGRAMS[name].compiled, device or _torch_device())
    if not own.exists():
        own.mkdir()
        FORMATS[package](config, jax.device_get(begin.params), own)
        np.savez(own / "batch.npz", **begin.batch)  # type: ignore[arg-type]
    held = Held(name, asked, python, folder)
    theirs, ours = held.about["loss"], begin.loss
    if ours and not math.isclose(theirs, ours, rel_tol=TOLERANCE[config.compute_dtype]):
        held.end()
        raise AligngapError(f"{name} starts at a loss of {theirs:.6f} and ours at {ours:.6f}")
    return held


def _torch_device() -> str:
    return {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())


def job(config: ConfigDict, folder: Path, compiled: bool, device: str) -> StepJob:
    """What a program is asked for; UsageError for what it does not have."""
    objective, optimizer = config.objective, config.optimizer
    given, wanted = keys(config), keys(default())
    for name in AS_DEFAULT:
        if given[name] != wanted[name]:
            raise UsageError(
                f"--peers: {name}={given[name]}, and the other programs know CLIP's loss and "
                "separation, held whole, AdamW in float32, all patches and padded captions alone"
            )
    return StepJob(
        folder=str(folder),
        device=device,
        dtype=config.compute_dtype,
        compiled=compiled,
        tied=config.model.tie,
        threads=len(os.sched_getaffinity(0)),
        mean=config.data.mean,
        std=config.data.std,
        contrastive_weight=objective.contrastive_weight,
        separation_weight=objective.separation_weight if objective.separated else 0.0,
        separated=tuple(objective.separated),
        rescaled=objective.semantic_rescaling,
        label_smoothing=objective.label_smoothing,
        learning_rate=optimizer.peak_lr,
        betas=(optimizer.b1, optimizer.b2),
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        scale_max=config.model.scale_max,
    )


# Fields that must be the default's.
AS_DEFAULT = (
    *(f"objective.{term}_weight" for term in TERMS if term not in ("contrastive", "separation")),
    *("objective.mask_duplicates", "objective.temperature", "objective.swap", "objective.tile"),
    *("optimizer.name", "optimizer.moments"),
    *("optimizer.clip_norm", "optimizer.lr_factors", "optimizer.ema_decay"),
    *("model.image.patch_dropout", "data.pack_captions", "data.semantics_from", "microbatches"),
)


def _transformers(config: ConfigDict, params: Any, folder: Path) -> None:
    """What CLIPModel.from_pretrained reads."""
    end = config.model.text.vocab_size - 1
    _check("transformers", huggingface.CLIP.problems(config.model))
    settings = huggingface.write(huggingface.CLIP, config.model, end, end)
    tensors = mapping.to_theirs(huggingface.clip_rules(config.model), params)
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _open_clip(config: ConfigDict, params: Any, folder: Path) -> None:
    """What open_clip.create_model reads."""
    _check("open_clip", open_clip.problems(config.model))
    settings = open_clip.write(config.model, config.data, tokenizer=False)
    tensors = mapping.to_theirs(open_clip.rules(config.model), params)
    (folder / "open_clip_config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(tensors, folder / "open_clip_model.safetensors")


def _check(name: str, problems: Iterable[str]) -> None:
    if said := "; ".join(problems):
        raise UsageError(f"--peers {name}: {said}")


FORMATS = {"transformers": _transformers, "open_clip": _open_clip}
