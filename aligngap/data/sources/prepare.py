"""`aligngap prepare --source`: a pass over a user's files, in parallel, that leaves an index.

What is made stands in DATA_DIR/.NAME.preparing/ until it is whole: findings of each part
(examine.py), then the corpus itself, which gets its name at the very end. A pass that was killed
goes on with the parts that are missing, and ends with the same bytes.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aligngap import atomic, json_text, lock, progress
from aligngap.addresses import is_remote
from aligngap.data import store
from aligngap.data.records import in_order
from aligngap.data.sources import indexed, lines, plan
from aligngap.data.sources.convert import Conversion
from aligngap.data.sources.indexed import ABOUT
from aligngap.data.sources.machines import Machines
from aligngap.data.sources.merge import merge
from aligngap.data.sources.plan import Named
from aligngap.data.sources.raw import Columns, Rules, Settings
from aligngap.data.sources.splitting import Splitting
from aligngap.errors import AligngapError, UsageError

LINES = "lines.jsonl"  # Beside corpus.json, and named there without a folder.


@dataclass(frozen=True)
class Request:
    """What the user asks for."""

    name: str
    sources: dict[str, str]  # Role → path, folder or glob; "" is what is split by the shares.
    columns: Columns
    rules: Rules
    splitting: Splitting
    images: str = ""  # The folder that paths in tables are relative to; "": that of the table.
    convert: bool = False  # Copy the records, for fast reading at random.
    resize: int = 0  # Then: pixels of the shorter side of larger images; 0: as they are.


def prepare(request: Request, data_dir: Path, machines: Machines) -> Path:
    """The corpus's folder, made unless it is there already."""
    final, building = data_dir / request.name, data_dir / f".{request.name}.preparing"
    data_dir.mkdir(parents=True, exist_ok=True)
    with lock.alone(data_dir / f".{request.name}.lock"):
        found = plan.all_named(request.sources, request.columns)
        stamps = _stamps(found)
        asked = _asked(request, stamps)
        if (final / ABOUT).exists():
            _same(final, asked)
            progress.say(f"{request.name} is already prepared, of the same files")
        else:
            if final.exists():
                raise UsageError(f"{final} is there and no prepared corpus: take another --name")
            _begin(building, asked)
            settings, shards = _shards(request, found, building)
            parts = machines.examine(settings, shards, building)
            if not parts:
                where = ", ".join(request.sources.values())
                raise AligngapError(f"{where} has no row or record")
            shutil.rmtree(building / "fetched", ignore_errors=True)
            merged = merge(parts, [s for s, _ in shards], request.splitting, building / "corpus")
            about = {
                "format": indexed.FORMAT,
                "name": request.name,
                "asked": asked,
                "settings": settings.as_json(),
                "shards": [_shard(shard, stamps) for shard, _ in shards],
                "converted": request.convert,
                **merged.as_json(building / "corpus"),
            }
            atomic.write_json(building / "corpus" / ABOUT, about)
            if request.convert:
                machines.convert(_conversion(request, building / "corpus"))
            (building / "corpus").rename(final)
        shutil.rmtree(building, ignore_errors=True)
    return final


def _conversion(request: Request, folder: Path) -> Conversion:
    found = indexed.about(folder)
    splits = {split: in_order(indexed.Indexed(folder, split)) for split in found["splits"]}
    return Conversion(request.name, splits, tuple(found["kinds"]), request.resize, folder)


def _stamps(found: Sequence[Named]) -> dict[str, str]:
    """The files, with their sizes and times of change."""
    return store.stamps([p for part in found for p in part.paths if part.format != "folder"])


def _asked(request: Request, stamps: dict[str, str]) -> dict[str, Any]:
    """What the corpus depends on: request and files."""
    asked: dict[str, Any] = json.loads(atomic.as_json(asdict(request) | {"stamps": stamps}))
    return asked


def _same(final: Path, asked: dict[str, Any]) -> None:
    held = indexed.about(final)["asked"]
    if held != asked:
        changed = [key for key in asked if held.get(key) != asked[key]]
        raise UsageError(
            f"{final} was prepared from something else ({', '.join(changed)} differ): delete it, "
            "or take another --name"
        )


def _begin(building: Path, asked: dict[str, Any]) -> None:
    """Goes on with what was begun for the same files and settings, else begins anew."""
    note = building / "asked.json"
    shutil.rmtree(building / "fetched", ignore_errors=True)  # Of a pass that was killed.
    if note.exists() and json_text.value(note.read_text(encoding="utf-8")) == asked:
        progress.say(f"Going on with what {building} holds")
        return
    if building.exists():
        progress.say(f"Removing {building}, begun with other files or settings")
        shutil.rmtree(building)
    (building / "parts").mkdir(parents=True)
    (building / "corpus").mkdir()
    atomic.write_json(note, asked)


def _shards(
    request: Request, found: Sequence[Named], building: Path
) -> tuple[Settings, list[tuple[str, str]]]:
    """(settings, [(shard, role)]); tables and folders are gathered into one shard of lines."""
    formats = {part.format for part in found}
    if formats <= {"table", "folder"}:
        tables = [plan.below(part, request.images) for part in found]
        root = tables[0].images
        target = building / "corpus" / LINES
        if not target.exists():
            fetched = building / "fetched"
            rows = (r for part in tables for r in plan.rows(part, root, request.columns, fetched))
            lines.gather(rows, request.columns, target)
        settings = Settings("lines", request.columns, request.rules, root)
        return settings, [(str(target), "")]
    if len(formats) > 1:
        raise UsageError(f"--source, --validation and --test are {formats}; expected one format")
    settings = Settings(formats.pop(), request.columns, request.rules)
    return settings, [(store.absolute(path), part.role) for part in found for path in part.paths]


def _shard(shard: str, stamps: dict[str, str]) -> dict[str, str]:
    """Of lines only the name: the corpus's folder is about to be renamed, and may be again. A
    remote one as it was when the pass began."""
    if Path(shard).name == LINES:
        return {"path": LINES, "stamp": ""}
    return {"path": shard, "stamp": stamps[shard] if is_remote(shard) else store.stamp(shard)}
