"""Who does the work on a user's files: processes of this machine, or (beam.py) many machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aligngap import progress
from aligngap.data import store
from aligngap.data.sources import convert, examine, formats, workers
from aligngap.data.sources.convert import Conversion
from aligngap.data.sources.examine import Part
from aligngap.data.sources.raw import Settings


class Machines(Protocol):
    """What can be shared out; all else of `prepare` needs every record's findings at once."""

    def examine(
        self, settings: Settings, shards: Sequence[tuple[str, str]], building: Path
    ) -> list[Part]:
        """The parts of [(shard, role)], in order, their findings in building/parts; what was found
        by a run that was killed stays."""
        ...

    def convert(self, conversion: Conversion) -> None:
        """Copies the records into files that TFDS reads."""
        ...


@dataclass(frozen=True)
class ThisMachine:
    """So many processes."""

    processes: int

    def examine(
        self, settings: Settings, shards: Sequence[tuple[str, str]], building: Path
    ) -> list[Part]:
        of_shards = store.several(formats.of(settings).parts, [shard for shard, _ in shards])
        found = parts(settings, shards, [*of_shards], building)
        missing = [part for part in found if not part.target.exists()]
        done = len(found) - len(missing)
        with progress.Bar("Examining", len(found), "parts", initial=done) as bar:
            looked = 0
            for count in workers.each(examine.examine, missing, self.processes):
                looked += count
                bar.note(f"{looked} records")
                bar.advance()
        return found

    def convert(self, conversion: Conversion) -> None:
        convert.convert(conversion, self.processes)


def parts(
    settings: Settings, shards: Sequence[tuple[str, str]], counts: Sequence[int], building: Path
) -> list[Part]:
    """Everything to be examined, in order: so many parts of each shard."""
    return [
        Part(settings, shard, role, number, building / "parts" / f"{shard_number}-{number}.npz")
        for shard_number, ((shard, role), count) in enumerate(zip(shards, counts, strict=True))
        for number in range(count)
    ]
