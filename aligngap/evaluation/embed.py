"""`aligngap embed`: from images and texts in files to files of embeddings and their ids."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from aligngap import progress
from aligngap.config import data_dir
from aligngap.data import images, inputs
from aligngap.data.inputs import Inputs
from aligngap.errors import AligngapError
from aligngap.evaluation.growing import Counting, Growing, Layout
from aligngap.interop import opening
from aligngap.parallel import distributed
from aligngap.runs import embedder as embedders
from aligngap.runs import provenance, workdir
from aligngap.runs.model import Model

BATCHES_AHEAD = 2  # Decoded while the device works.


@dataclass(frozen=True)
class EmbedRequest:
    """What a user wants embedded, and with which model."""

    workdir: Path
    step: int | None
    images: str | None
    texts: str | None
    data_dir: str = ""
    skip_corrupt: bool = False


# Some items of the inputs, in order: their rows, and which were left out and why.
Part = tuple[Float[np.ndarray, "n D"], int, dict[int, str]]


def embed(request: EmbedRequest, output: Path, dtype: str = "float32", form: str = "npy") -> str:
    """Writes image.npy, text.npy (L2-normalised) and ids; goes on where it was; says what it did.

    Everything is looked at before anything is embedded. Of several processes each decodes and
    embeds its own rows, and the first writes. AligngapError names an image that cannot be decoded,
    unless those are skipped: then one line of the inputs has no row, and where images and texts are
    the same shards or split, its text has none either; that of a document stays.
    """
    model = opening.load(request.workdir, request.step)
    pictures, captions = _inputs(request, model.config)
    layout = Layout(model.config.model.embed_dim, dtype, form)
    skipped: dict[int, str] = {}
    said = []
    with _alone(output):
        if pictures:
            image = _grow(output, "image", _plan(model, pictures, "images"), layout)
            _expect_none(image.skipped, request)  # Of an earlier command, which skipped them.
            parts = _image_parts(model, pictures, image.items, request)
            said.append(_write(image, pictures, parts, model, "images"))
            skipped = image.skipped
        if captions:
            paired = bool(pictures and pictures.pairs) and request.images == request.texts
            left_out = skipped if paired else {}
            text = _grow(output, "text", _plan(model, captions, "texts", left_out), layout)
            parts = _text_parts(model, captions, text.items, left_out)
            said.append(_write(text, captions, parts, model, "texts"))
            if skipped and not paired:
                progress.say("Rows of image and text no longer pair: see image_ids.txt")
    return "\n".join(said)


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """The folder is made and held by the first process."""
    with contextlib.ExitStack() as stack:
        with distributed.together():
            if jax.process_index() == 0:
                _make(output)
                stack.enter_context(workdir.alone(output, "embedding"))
        yield


def _grow(output: Path, name: str, plan: dict[str, str], layout: Layout) -> Counting:
    """What the first process writes, and the others count along with."""
    growing: Growing | None = None
    with distributed.together():
        if jax.process_index() == 0:
            growing = Growing(output, name, plan, layout)
    own = growing.counts() if growing else {}
    held = distributed.of_first(own)
    return growing or Counting(output / f"{name}.{layout.format}", held)


def _inputs(
    request: EmbedRequest, config: ConfigDict
) -> tuple[Inputs[bytes] | None, Inputs[str] | None]:
    """What there is to embed; AligngapError where one shard's image lacks its text."""
    folder = data_dir(request.data_dir or config.data.data_dir)
    where = inputs.Where(folder, config.data.max_keywords)
    pictures = inputs.images(request.images, where) if request.images else None
    captions = inputs.texts(request.texts, where) if request.texts else None
    if pictures and captions and request.images == request.texts and pictures.pairs:
        alone = sorted(set(pictures.ids) ^ set(captions.ids))
        if alone or list(pictures.ids) != list(captions.ids):
            which = f": {alone[0]} has only one of them" if alone else " in the same order"
            raise AligngapError(f"{request.images}: expected an image and a text a sample{which}")
    return pictures, captions


def _image_parts(
    model: Model, pictures: Inputs[bytes], start: int, request: EmbedRequest
) -> Iterator[Part]:
    """From item `start` on; decoded by as many threads as there are processors."""
    size, embedder = model.config.model.image.size, model.embedder
    batches = _batched(range(start, len(pictures.ids)), embedder.batch)
    own = [[batch[row] for row in embedder.own_rows(len(batch))] for batch in batches]
    function = functools.partial(_pixels, pictures, size, model.config.data.resize)
    decoded = _ahead(function, [item for items in own for item in items], embedder.batch)
    left_out: list[dict[int, str]] = []  # Of the batches under way.
    blank = np.zeros((size, size, 3), np.uint8)  # In place of an image that is left out.

    def parts() -> Iterator[embedders.Part]:
        for batch, items in zip(batches, own, strict=True):
            found = list(itertools.islice(decoded, len(items)))
            left_out.append(_wrong(items, found, request))
            rows = [blank if _is_error(x) else x for x in found]
            yield embedders.Part(np.stack(rows) if rows else blank[None][:0], len(batch))
        decoded.close()

    embedded = embedder.image_batches(model.params, parts())
    for batch, rows in zip(batches, embedded, strict=True):
        wrong = left_out.pop(0)
        yield rows[[item not in wrong for item in batch]], len(batch), wrong


def _wrong(items: list[int], found: list[Any], request: EmbedRequest) -> dict[int, str]:
    """Item → why its image cannot be decoded, of all processes; AligngapError unless skipped."""
    own = {str(i): str(x) for i, x in zip(items, found, strict=True) if _is_error(x)}
    every = {int(i): reason for held in distributed.gathered(own) for i, reason in held.items()}
    wrong = dict(sorted(every.items()))
    _expect_none(wrong, request)
    for reason in wrong.values():
        if jax.process_index() == 0:
            progress.say(f"Skipped: {reason}")
    return wrong


def _expect_none(wrong: dict[int, str], request: EmbedRequest) -> None:
    if wrong and not request.skip_corrupt:
        raise AligngapError(f"{next(iter(wrong.values()))}; --skip_corrupt leaves such out")


def _text_parts(
    model: Model, captions: Inputs[str], start: int, left_out: dict[int, str]
) -> Iterator[Part]:
    embedder = model.embedder
    batches = _batched(range(start, len(captions.ids)), embedder.batch)
    wanted = [[item for item in batch if item not in left_out] for batch in batches]

    def part(number: int) -> embedders.Part:
        return embedder.text_part([captions.read(item) for item in wanted[number]])

    parts = _ahead(part, range(len(batches)), 1)
    for batch, rows in zip(batches, embedder.text_batches(model.params, parts), strict=True):
        yield rows, len(batch), {i: left_out[i] for i in batch if i in left_out}


def _ahead(function: Any, items: Sequence[int], batch: int) -> Generator[Any, None, None]:
    """The function of each item, in order, worked out by threads before it is asked for."""
    if not items:
        return
    source = grain.MapDataset.source(items).map(function)
    threads = max(2, os.cpu_count() or 1)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=BATCHES_AHEAD * batch)
    with contextlib.closing(iter(source.to_iter_dataset(options))) as results:
        yield from results


def _pixels(pictures: Inputs[bytes], size: int, how: str, item: int) -> np.ndarray | AligngapError:
    """An image as the model sees it, or what is wrong with it."""
    name = pictures.ids[item]
    try:
        return images.RESIZES[how](images.decode(pictures.read(item), name), size)
    except AligngapError as error:
        return error


def _is_error(found: Any) -> bool:
    return isinstance(found, AligngapError)


def _batched(items: range, batch: int) -> list[range]:
    return [items[at : at + batch] for at in range(0, len(items), batch)]


def _write(
    growing: Counting, given: Inputs[Any], parts: Iterator[Part], model: Model, unit: str
) -> str:
    """Embeds what is not there yet; returns a line about what is there now."""
    if growing.done:
        return f"{_there(growing, unit)}, already there"
    first, started = growing.items, time.monotonic()
    if first:
        progress.say(f"Continuing {growing.path} after {first:,} of {len(given.ids):,} {unit}")
    try:
        with progress.Bar(f"Embedding {unit}", len(given.ids), unit, first) as bar:
            for rows, items, skipped in parts:
                _check(rows, given, growing.items)
                growing.append(rows, items, skipped)
                bar.advance(items)
    except AligngapError:
        growing.save()  # What came before the error need not be done again.
        growing.close()
        raise
    about = {"given": given.given, "model": str(model.folder), "step": model.step}
    growing.finish(given.ids, about | {"versions": provenance.versions()})
    rate = (growing.items - first) / max(time.monotonic() - started, 1e-9)
    return f"{_there(growing, unit)}, {rate:,.0f} {unit} a second"


def _there(growing: Counting, unit: str) -> str:
    left_out = f", {len(growing.skipped):,} skipped" if growing.skipped else ""
    return f"{growing.path}: {growing.rows:,} {unit}{left_out}"


def _check(rows: np.ndarray, given: Inputs[Any], first: int) -> None:
    if not np.isfinite(rows).all():
        raise AligngapError(
            f"{given.given}: an embedding of the {len(rows)} from {given.ids[first]} on is not "
            "finite: is this checkpoint of a run that failed?"
        )


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AligngapError(f"{output} cannot be written: {error.strerror}") from error


def _plan(
    model: Model,
    given: Inputs[Any],
    unit: str,
    left_out: Sequence[int] | dict[int, str] = (),
) -> dict[str, str]:
    """All that the rows depend on, bit by bit; its keys are what an error says has changed."""
    device = jax.devices()[0].device_kind
    tokenizer = model.tokenizer
    return {
        "model": _digest(model),
        "tokenizer": "" if unit == "images" or tokenizer is None else tokenizer.fingerprint,
        f"list of {unit}": f"{given.digest} without {sorted(left_out)}",
        "batch size or device": f"{model.embedder.batch} on {jax.device_count()} × {device}",
    }


def _digest(model: Model) -> str:
    """SHA-256 of the parameters and of what says how they are used."""
    config = model.config
    data = [str(config.data.mean), str(config.data.std), config.data.resize]
    parts = [config.compute_dtype, config.model.to_json(), *data]
    sha = hashlib.sha256(json.dumps(parts).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(model.params)):
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()
