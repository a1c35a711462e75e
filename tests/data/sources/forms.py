"""The same pairs in every form that people have them in, as their tools would write them."""

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from aligngap.data import corpora, images


class Pair(NamedTuple):
    """An image file and what is said of it."""

    name: str
    image: bytes
    captions: list[str]


def drawings(data_dir: Path, count: int) -> list[Pair]:
    """So many pictures of the pictograms, no two alike, with one to three names each."""
    source = corpora.find("pictograms", data_dir).open("train")
    rows = np.random.default_rng(0).choice(len(source), count * 4 // 3, replace=False)
    found = {}
    for row in rows.tolist():
        record = source[row]
        names = list(dict.fromkeys(record.captions))[:3]
        found[record.image] = Pair(f"{row:06d}", record.image, names)
    return sorted(found.values())[:count]


def files(pairs: Sequence[Pair], folder: Path) -> Path:
    """The image files in `folder`/images."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for pair in pairs:
        (folder / "images" / f"{pair.name}.png").write_bytes(pair.image)
    return folder / "images"


def table(pairs: Sequence[Pair], folder: Path) -> Path:
    """A CSV with a row for each caption, and image files."""
    files(pairs, folder)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["filepath", "title"])
        rows.writerows((f"images/{p.name}.png", text) for p in pairs for text in p.captions)
    return folder / "pairs.csv"


def shards(pairs: Sequence[Pair], folder: Path) -> Path:
    """Two tar shards as webdataset reads them; several captions in a .json."""
    folder.mkdir(parents=True)
    half = -(-len(pairs) // 2)
    for number, part in enumerate((pairs[:half], pairs[half:])):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for pair in part:
                about = json.dumps({"captions": pair.captions}).encode()
                add(archive, f"{pair.name}.png", pair.image)
                add(archive, f"{pair.name}.json", about)
    return folder / "*.tar"


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A plain member."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def parquet(pairs: Sequence[Pair], folder: Path) -> Path:
    """One file with a row for each caption, images as Hugging Face keeps them."""
    folder.mkdir(parents=True)
    rows = [(pair, text) for pair in pairs for text in pair.captions]
    images = [{"bytes": pair.image, "path": f"{pair.name}.png"} for pair, _ in rows]
    columns = pa.table({"image": images, "caption": [text for _, text in rows]})
    pyarrow.parquet.write_table(columns, folder / "pairs.parquet", row_group_size=64)
    return folder / "pairs.parquet"


def coco(pairs: Sequence[Pair], folder: Path) -> Path:
    """COCO's captions."""
    files(pairs, folder)
    images = [{"id": i, "file_name": f"images/{p.name}.png"} for i, p in enumerate(pairs)]
    annotations = [
        {"image_id": i, "id": 10 * i + k, "caption": text}
        for i, pair in enumerate(pairs)
        for k, text in enumerate(pair.captions)
    ]
    (folder / "captions.json").write_text(
        json.dumps({"images": images, "annotations": annotations})
    )
    return folder / "captions.json"


def karpathy(pairs: Sequence[Pair], folder: Path) -> Path:
    """Karpathy's form, which says the split of each image: here none that it holds out."""
    files(pairs, folder)
    images = [
        {
            "filepath": "images",
            "filename": f"{pair.name}.png",
            "sentences": [{"raw": text, "tokens": text.split()} for text in pair.captions],
        }
        for pair in pairs
    ]
    (folder / "dataset.json").write_text(json.dumps({"images": images, "dataset": "ours"}))
    return folder / "dataset.json"


def sidecars(pairs: Sequence[Pair], folder: Path) -> Path:
    """Images with a .txt beside each, a caption a line."""
    images = files(pairs, folder)
    for pair in pairs:
        text = "\n".join(pair.captions)
        (images / f"{pair.name}.txt").write_text(text, encoding="utf-8")
    return images


def saved(pairs: Sequence[Pair], folder: Path) -> Path:
    """What Hugging Face's `save_to_disk` leaves: Arrow streams and a state.json that names them."""
    folder.mkdir(parents=True)
    half = -(-len(pairs) // 2)
    names = [f"data-{number:05d}-of-00002.arrow" for number in range(2)]
    for name, part in zip(names, (pairs[:half], pairs[half:]), strict=True):
        images = [{"bytes": pair.image, "path": None} for pair in part]
        columns = pa.table({"image": images, "captions": [pair.captions for pair in part]})
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_stream(sink, columns.schema) as writer,
        ):
            writer.write_table(columns, max_chunksize=50)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def jpegs(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pictures as JPEGs of 256 pixels, as img2dataset resizes them."""
    found = []
    for pair in pairs:
        written = io.BytesIO()
        images.decode(pair.image).resize((256, 256)).save(written, "JPEG", quality=95)
        found.append(pair._replace(image=written.getvalue()))
    return found


def img2dataset(pairs: Sequence[Pair], folder: Path) -> Path:
    """What img2dataset leaves with its defaults: shards, and beside them what it says of them."""
    folder.mkdir(parents=True)
    half = -(-len(pairs) // 2)
    for number, part in enumerate((pairs[:half], pairs[half:])):
        shard = f"{number:05d}"
        rows = [_downloaded(f"{shard}{place:04d}", pair) for place, pair in enumerate(part)]
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for row, pair in zip(rows, part, strict=True):
                add(archive, f"{row['key']}.jpg", pair.image)
                add(archive, f"{row['key']}.json", json.dumps(row, indent=4).encode())
                add(archive, f"{row['key']}.txt", pair.captions[0].encode())
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{shard}.parquet")
        stats = {"count": len(part), "successes": len(part), "failed_to_download": 0}
        (folder / f"{shard}_stats.json").write_text(json.dumps(stats, indent=4))
    return folder


def _downloaded(key: str, pair: Pair) -> dict[str, object]:
    return {
        "key": key,
        "url": f"https://example.org/{pair.name}.jpg",
        "caption": pair.captions[0],
        "status": "success",
        "error_message": None,
        "width": 256,
        "height": 256,
        "original_width": 640,
        "original_height": 480,
        "exif": "{}",
        "sha256": hashlib.sha256(pair.image).hexdigest(),
    }


# form: (how it is written, what the command needs beside --source and --name)
FORMS: dict[str, tuple[Callable[[Sequence[Pair], Path], Path], list[str]]] = {
    "table": (table, []),
    "shards": (shards, []),
    "parquet": (parquet, []),
    "coco": (coco, []),
    "karpathy": (karpathy, []),
    "sidecars": (sidecars, ["--caption_a_line"]),
    "saved": (saved, []),
}
