"""The findings of all parts → an index a split, what was left out, and what a page shows of it.

Part by part, in order, so that memory does not grow with the corpus.
"""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aligngap import atomic
from aligngap.data.sources import examine, formats, index
from aligngap.data.sources.examine import Part, read_findings
from aligngap.data.sources.splitting import Across, Splitting
from aligngap.data.sources.statistics import Statistics
from aligngap.errors import AligngapError

ROLES = ("train", "validation", "test")
LEFT_OUT = "left_out.tsv"
REPEATED = "a caption of another record"


@dataclass
class Merged:
    """What corpus.json says of the records."""

    records: Counter[str] = field(default_factory=Counter)  # By role.
    captions: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # By reason.
    first: dict[str, str] = field(default_factory=dict)  # Of each reason: what it befell first.
    classes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    statistics: Statistics = field(default_factory=Statistics)

    def as_json(self, folder: Path) -> dict[str, Any]:
        """Splits with their sizes and digests, kinds of labels with their classes, reasons."""
        splits = {
            role: {
                "records": self.records[role],
                "captions": self.captions[role],
                "sha256": hashlib.sha256(index.path(folder, role).read_bytes()).hexdigest(),
            }
            for role in ROLES
            if self.records[role]
        }
        kinds = {kind: sorted(names) for kind, names in sorted(self.classes.items())}
        return {"splits": splits, "kinds": kinds, "left_out": dict(sorted(self.left_out.items()))}


def merge(
    parts: Sequence[Part], shards: Sequence[str], splitting: Splitting, folder: Path
) -> Merged:
    """Writes the index of each split, LEFT_OUT and statistics.json; AligngapError where nothing
    is left to train on. `shards`: as they are numbered, also those that have no part."""
    across = Across([part.target for part in parts], splitting)
    merged, blocks = Merged(), {role: [0] for role in ROLES}
    files = {role: index.path(folder, role).open("wb") for role in ROLES}
    with (folder / LEFT_OUT).open("w", encoding="utf-8", errors="replace", newline="") as listing:
        table = csv.writer(listing, delimiter="\t", lineterminator="\n")
        table.writerow(("reason", "shard", "detail"))
        numbers = {shard: number for number, shard in enumerate(shards)}
        for number, part in enumerate(parts):
            columns, about = read_findings(part.target)
            kept, roles = across.kept(number, columns), across.roles(number, columns)
            merged.left_out[REPEATED] += int((~kept).sum())
            damaged = _damaged(part, columns, np.flatnonzero(kept & (roles != "train")))
            kept[[*damaged]] = False
            for role, file in files.items():
                rows = np.flatnonzero(kept & (roles == role))
                file.write(_places(columns, rows, numbers[part.shard]))
                merged.records[role] += len(rows)
                blocks[role] += [merged.records[role]] if len(rows) else []
                merged.captions[role] += int(columns["captions"][rows].sum())
            merged.statistics.add(columns, kept)
            for reason, detail in [*about["left_out"], *damaged.values()]:
                merged.left_out[reason] += 1
                merged.first.setdefault(reason, detail)
                table.writerow((reason, Path(part.shard).name, detail))
            for kind, names in about["classes"].items():
                merged.classes[kind] |= {*names}
    for role, file in files.items():
        file.close()
        if parts and formats.of(parts[0].settings).by_parts:
            np.save(index.blocks_path(folder, role), np.array(blocks[role], np.uint64))
    merged.left_out = +merged.left_out  # Without those that never happened.
    if not merged.records["train"]:
        raise AligngapError(f"no record is left to train on ({_why_none(merged)})")
    atomic.write_json(folder / "statistics.json", merged.statistics.as_json())
    return merged


def _why_none(merged: Merged) -> str:
    most = merged.left_out.most_common(5)
    reasons = [f"{reason}: {count}" for reason, count in most]
    if most and (example := merged.first.get(most[0][0])):
        reasons[0] += f", such as {example[:200]}"
    return "; ".join(reasons) or "there was none"


def _damaged(
    part: Part, columns: dict[str, np.ndarray], held_out: np.ndarray
) -> dict[int, tuple[str, str]]:
    """Row → (reason, detail) of what is held out and cannot be decoded, where only headers were
    looked at: training puts another record in its place, evaluation cannot."""
    if part.settings.rules.check == "decode":
        return {}
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(partial(examine.undecodable, part, columns), held_out.tolist()))
    rows = zip(held_out.tolist(), found, strict=True)
    return {row: (bad.reason, bad.detail) for row, bad in rows if bad}


def _places(columns: dict[str, np.ndarray], rows: np.ndarray, shard: int) -> bytes:
    found = np.empty(len(rows), index.RECORD)
    found["shard"] = shard
    found["offset"], found["size"] = columns["offset"][rows], columns["size"][rows]
    return found.tobytes()
