"""`--beam_pipeline_options`: the work on many machines, on whatever runner Apache Beam has.

Two pipelines. The first examines shards. Its findings, some 50 bytes a record, are merged on the
machine that gave the command, as always; so splits, order and counts are those of one machine. The
second is a TFDS builder that copies the records. What the machines tell each other lies in a folder
that all of them read and write.
"""

import contextlib
import io
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from etils import epath
from tensorflow_datasets.core import utils

from aligngap import progress
from aligngap.addresses import is_remote
from aligngap.data.sources import examine, formats, machines
from aligngap.data.sources.beam_builder import Builder
from aligngap.data.sources.convert import Conversion
from aligngap.data.sources.examine import Part
from aligngap.data.sources.indexed import ABOUT
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Settings
from aligngap.errors import AligngapError, UsageError

COUNTS = "counts.json"  # Of the parts of each shard.
OPTION = re.compile(r"[A-Za-z]\w*(=.*)?")


def prepare_by_beam(request: Request, data_dir: str, options: str) -> Path:
    """`prepare`; `data_dir` may also be in an object store."""
    parsed(options)
    if is_remote(data_dir):
        return _prepare_there(request, epath.Path(data_dir), options)
    here = Path(data_dir).absolute()
    building = here / f".{request.name}.preparing"
    same = ManyMachines(options, epath.Path(building), epath.Path(building / "corpus"))
    return prepare(request, here, same)


def _prepare_there(request: Request, data_dir: epath.Path, options: str) -> Path:
    """In an object store corpus.json comes last: without it there is no corpus."""
    final, shared = data_dir / request.name, data_dir / f".{request.name}.preparing"
    if final.exists() and not ((final / ABOUT).exists() or shared.exists()):
        raise UsageError(f"{final} is there and no prepared corpus: take another --name")
    with tempfile.TemporaryDirectory() as here:
        known = Path(here) / request.name
        if (final / ABOUT).exists():
            known.mkdir()
            (final / ABOUT).copy(known / ABOUT)
        folder = prepare(request, Path(here), ManyMachines(options, shared, final))
        for file in sorted(folder.iterdir(), key=lambda file: file.name == ABOUT):
            epath.Path(file).copy(final / file.name, overwrite=True)
    if shared.exists():
        shared.rmtree()
    return final


@dataclass(frozen=True)
class ManyMachines:
    """Those of a Beam runner."""

    options: str  # NAME=VALUE,NAME=VALUE, as `tfds build --beam_pipeline_options` takes them.
    shared: epath.Path  # Every machine reads and writes this folder.
    copies: epath.Path  # Where the files of the copied records come to lie.

    def examine(
        self, settings: Settings, shards: Sequence[tuple[str, str]], building: Path
    ) -> list[Part]:
        self._begin(building)
        given = [
            (number, self._within_reach(shard, building), role)
            for number, (shard, role) in enumerate(shards)
        ]
        with self._running("examining"), beam.Pipeline(options=parsed(self.options)) as pipeline:
            _ = pipeline | beam.Create(given) | _Examination(settings, str(self.shared))
        return self._fetched(settings, shards, building)

    def convert(self, conversion: Conversion) -> None:
        for file in sorted(conversion.folder.iterdir()):
            self._put(file)
        tfds.disable_progress_bar()
        builder = Builder(conversion, self.shared)
        with self._running("copying"):
            builder.write(parsed(self.options))
        for file in builder.data_path.iterdir():
            if is_remote(str(self.copies)):  # Which has no empty folders to rename into.
                file.copy(self.copies / file.name, overwrite=True)
            else:
                file.rename(self.copies / file.name)

    def _begin(self, building: Path) -> None:
        """Whatever was found in the shared folder for another request goes."""
        note, asked = self.shared / "asked.json", (building / "asked.json").read_text()
        if not note.exists() or note.read_text() != asked:
            if self.shared.exists():
                self.shared.rmtree()
            (self.shared / "parts").mkdir(parents=True)
            note.write_text(asked)

    def _within_reach(self, shard: str, building: Path) -> str:
        """A shard as all machines find it: gathered lines are put where they do."""
        return str(self._put(Path(shard))) if Path(shard).parent == building / "corpus" else shard

    def _put(self, file: Path) -> epath.Path:
        target = self.shared / "corpus" / file.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            epath.Path(file).copy(target)
        return target

    def _fetched(
        self, settings: Settings, shards: Sequence[tuple[str, str]], building: Path
    ) -> list[Part]:
        """The parts of all shards, their findings on this machine."""
        counts = self.shared / COUNTS
        found: dict[str, int] = json.loads(counts.read_text()) if counts.exists() else {}
        of_shards = [found.get(str(number), 1) for number in range(len(shards))]
        parts = machines.parts(settings, shards, of_shards, building)
        for part in parts:
            written = self.shared / "parts" / part.target.name
            if not written.exists():
                raise AligngapError(
                    f"the machines left no findings in {self.shared}: --data_dir must be a place "
                    "that all of them and this one see, such as gs://BUCKET/FOLDER or a network "
                    "file system"
                )
            if not part.target.exists():
                written.copy(part.target)
        return parts

    @contextlib.contextmanager
    def _running(self, what: str) -> Iterator[None]:
        # Of the options no more: some are credentials.
        progress.say(f"Beam is {what} with {_runner(parsed(self.options))}")
        try:
            yield
        except Exception as error:  # Of any kind: a machine's comes as text inside another.
            raise AligngapError(
                f"Beam stopped while {what}: {_reason(error)}; the same command goes on"
            ) from error


class _Examination(beam.PTransform):
    """(number, shard, role) → the findings of its parts in `shared`, and how many there are."""

    def __init__(self, settings: Settings, shared: str) -> None:
        super().__init__()
        self._settings, self._shared = settings, shared

    def expand(self, shards: Any) -> Any:
        counted = shards | "Spread" >> beam.Reshuffle() | beam.Map(_counted, self._settings)
        counts = counted | beam.Map(_count) | beam.combiners.ToList()
        _ = (
            counted
            | beam.FlatMap(_parts, self._settings)
            | "Spread parts" >> beam.Reshuffle()
            | beam.Map(_examine, self._shared)
        )
        return counts | beam.Map(_note, self._shared)


def _counted(given: tuple[int, str, str], settings: Settings) -> tuple[int, str, str, int]:
    return *given, formats.of(settings).parts(given[1])


def _count(given: tuple[int, str, str, int]) -> tuple[int, int]:
    return given[0], given[3]


def _note(counts: list[tuple[int, int]], shared: str) -> None:
    _write(epath.Path(shared) / COUNTS, json.dumps(dict(sorted(counts))).encode())


def _parts(given: tuple[int, str, str, int], settings: Settings) -> Iterator[Part]:
    number, shard, role, count = given
    own = Path(tempfile.gettempdir())  # Findings go elsewhere; what else a machine needs goes here.
    for part in range(count):
        yield Part(settings, shard, role, part, own / "parts" / f"{number}-{part}.npz")


def _examine(part: Part, shared: str) -> None:
    target = epath.Path(shared) / "parts" / part.target.name
    if not target.exists():
        found, looked = examine.examined(part)
        _write(target, found)
        beam.metrics.Metrics.counter("aligngap", "examined").inc(looked)


def _write(target: epath.Path, content: bytes) -> None:
    with utils.incomplete_file(target) as partial:
        partial.write_bytes(content)


def parsed(options: str) -> PipelineOptions:
    """Beam's options; UsageError for what it cannot read."""
    given = options.split(",")
    for option in given:
        if not OPTION.fullmatch(option):
            raise UsageError(
                f"--beam_pipeline_options: {option!r} is no NAME=VALUE; expected a list such as "
                "runner=DirectRunner,direct_num_workers=4"
            )
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found = PipelineOptions([f"--{option}" for option in given])
            found.get_all_options()
            beam.runners.create_runner(_runner(found))
    except SystemExit:
        reason = _last(said.getvalue()).rpartition("error: ")[2]
        raise UsageError(f"--beam_pipeline_options: {reason}") from None
    except ValueError as error:
        raise UsageError(f"--beam_pipeline_options: {error}") from None
    return found


def _runner(options: PipelineOptions) -> str:
    chosen = options.view_as(StandardOptions)
    return str(chosen.runner or chosen.DEFAULT_RUNNER)


def _reason(error: Exception) -> str:
    """What of a runner's report a user can use: our own line, where there is one."""
    text = str(error)
    own = re.findall(r"AligngapError: (.+?)(?: \[while running|\\n|\n|$)", text)
    return own[-1] if own else (_last(text)[:500] or type(error).__name__)


def _last(text: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
