"""Embeddings, labels and lines in files of others: .npy, .npz, .safetensors, text. Never
unpickled."""

import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float, Int
from safetensors import safe_open

from aligngap.errors import AligngapError, some

FLOATS = ("float16", "bfloat16", "float32", "float64")
MAX_LABELS = 10_000  # each has two centroids in memory
ZIP = b"PK\x03\x04"  # the first bytes of a .npz
LONGEST_HEADER = 2**16  # bytes of a .npy's own, of which NumPy takes no more than 10,000
LOCAL_HEADER = 30  # bytes of a zip entry's own header before its name and its extra field

# (start, stop) → those rows. A file is opened for each call: mapped pages stay resident until the
# map is closed, so one map of a large file would count as memory.
Read = Callable[[int, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """One array [N, D] of floats in a file, read by rows."""

    given: str  # as the user wrote it: FILE or FILE:NAME
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Read

    @property
    def path(self) -> Path:
        """The file."""
        return _split(self.given)[0]

    @property
    def title(self) -> str:
        """The file's name without its folders."""
        name = _split(self.given)[1]
        return f"{self.path.name}:{name}" if name else self.path.name


def embeddings(given: str | Path) -> StoredArray:
    """The array of a file, its numbers not yet read; AligngapError where there is no such array."""
    return expect_embeddings(array(given))


def expect_embeddings(source: StoredArray) -> StoredArray:
    """The same, where it is one array [N, D] of floats; else AligngapError."""
    if len(source.shape) != 2 or source.shape[0] < 1 or source.shape[1] < 2:
        raise AligngapError(
            f"{source.given}: expected one array [N, D] of N ≥ 1 embeddings, D ≥ 2; "
            f"found {list(source.shape)}"
        )
    if source.dtype.name not in FLOATS:
        raise AligngapError(
            f"{source.given}: expected floating-point numbers, found {source.dtype}"
        )
    return source


def array(given: str | Path) -> StoredArray:
    """Any array of a file of arrays; AligngapError where it cannot be read."""
    path, name = _split(str(given))
    try:
        found = _READERS.get(path.suffix.lower(), _npy)(str(given), path, name)
    except AligngapError:
        raise
    except Exception as error:  # What a damaged file makes its readers raise may be anything.
        kind = path.suffix if path.suffix.lower() in _READERS else ".npy"
        raise AligngapError(f"{given}: not a readable {kind} array ({error})") from error
    return found if found.dtype.kind != "U" else _of_characters(found)


def holds_array(given: str | Path) -> bool:
    """Whether its name is that of a file of arrays; any other is read as text."""
    return _split(str(given))[0].suffix.lower() in _READERS


def lines(given: str | Path, what: str) -> Iterator[str]:
    """The lines of a UTF-8 text file without their ends; `what` they are goes into the error."""
    try:
        with Path(given).open(encoding="utf-8-sig") as file:
            for line in file:
                yield line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AligngapError(f"{given}: not a readable text file of {what} ({error})") from error


def table(given: str | Path, columns: str) -> list[list[str]]:
    """The columns of a UTF-8 text file with a line a row, parted by tabs; AligngapError where a
    line has another number than `columns` names ("score, sentence, sentence"), or none has any."""
    wanted = len(columns.split(", "))
    rows = [line.rstrip("\r").split("\t") for line in lines(given, f"rows ({columns})")]
    for number, row in enumerate(rows, 1):
        if len(row) != wanted:
            raise AligngapError(
                f"{given}, line {number}: {len(row)} columns, expected {wanted} parted by tabs "
                f"({columns})"
            )
    if not rows:
        raise AligngapError(f"{given} is empty; expected lines of {columns} parted by tabs")
    return [list(column) for column in zip(*rows, strict=True)]


def numbers(given: str | Path, column: Sequence[str]) -> Float[np.ndarray, "N"]:
    """A column of a table as numbers; AligngapError names the line that has none."""
    found = np.zeros(len(column))
    for row, text in enumerate(column):
        try:
            found[row] = float(text)
        except ValueError as error:
            raise AligngapError(f"{given}, line {row + 1}: {text!r} is no number") from error
    return found


def expect_each(given: str | Path, what: str, found: int, rows: int, of: str = "pairs") -> None:
    """AligngapError where a file does not hold one for each row."""
    if found != rows:
        raise AligngapError(f"{given} holds {found} {what} for {rows} {of}; expected one each")


def labels(
    given: str | Path, rows: int, of: str = "pairs"
) -> tuple[list[str], Int[np.ndarray, "N"]]:
    """Names and, for each of the rows (`of` says of what), the index of its own: an array [N] of
    whole numbers or strings in any file of arrays, or a text file, a line a row."""
    found = _label_array(given) if holds_array(given) else np.array(list(lines(given, "labels")))
    expect_each(given, "labels", len(found), rows, of)
    names, index = np.unique(found, return_inverse=True)
    if len(names) > MAX_LABELS:
        raise AligngapError(
            f"{given} holds {len(names)} different labels; expected at most {MAX_LABELS}"
        )
    return [str(name) for name in names], index


def _split(given: str) -> tuple[Path, str]:
    """FILE.npz:NAME → (FILE.npz, NAME); a file whose own name has a colon is that file."""
    for suffix in (".npz:", ".safetensors:"):
        head, found, name = given.partition(suffix)
        if found and name and not Path(given).exists():
            return Path(head + suffix[:-1]), name
    return Path(given), ""


def _npy(given: str, path: Path, name: str) -> StoredArray:
    del name
    with path.open("rb") as file:
        if file.read(len(ZIP)) == ZIP:
            raise AligngapError(f"{given}: expected one array; a .npz file must be named *.npz")
        file.seek(0)
        shape, fortran, dtype = _header(file)
        return _mapped(given, path, file.tell(), dtype, shape, fortran)


def _npz(given: str, path: Path, name: str) -> StoredArray:
    """An array that was stored as it is gets mapped; a compressed one is held in memory."""
    with zipfile.ZipFile(path) as archive:
        names = [entry.removesuffix(".npy") for entry in archive.namelist()]
        entry = archive.getinfo(_chosen(path, name, names) + ".npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            with archive.open(entry) as file:
                _header(file)
                file.seek(0)
                array = np.lib.format.read_array(file, allow_pickle=False)
            return StoredArray(given, array.shape, array.dtype, lambda a, b: array[a:b])
    with path.open("rb") as file:
        shape, fortran, dtype = _stored_header(file, entry.header_offset)
        return _mapped(given, path, file.tell(), dtype, shape, fortran)


def _safetensors(given: str, path: Path, name: str) -> StoredArray:
    with safe_open(path, framework="np") as file:
        chosen = _chosen(path, name, list(file.keys()))
        view = file.get_slice(chosen)
        shape = tuple(view.get_shape())
        # The library names types in its own way: an empty slice has NumPy's.
        dtype = view[:0].dtype if shape else np.dtype("V")

    def read(start: int, stop: int) -> np.ndarray:
        with safe_open(path, framework="np") as file:
            return file.get_slice(chosen)[start : min(stop, shape[0])]

    return StoredArray(given, shape, dtype, read)


_READERS = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}


def _chosen(path: Path, name: str, names: list[str]) -> str:
    """The array that was asked for, or the only one; the error lists what there is."""
    if name in names:
        return name
    if not name and len(names) == 1:
        return names[0]
    wrong = f"no array {name!r}" if name else f"{len(names)} arrays"
    raise AligngapError(
        f"{path} holds {wrong}; name one as {path}:NAME out of: {some(sorted(names))}"
    )


def _mapped(
    given: str, path: Path, offset: int, dtype: np.dtype, shape: tuple[int, ...], fortran: bool
) -> StoredArray:
    if not all(shape):  # cannot be mapped; `embeddings` refuses it
        return StoredArray(given, shape, dtype, lambda a, b: np.empty((0, 0)))

    def open_map() -> np.ndarray:
        return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")

    open_map()  # a file that is too short fails here, in `embeddings`

    def read(start: int, stop: int) -> np.ndarray:
        return np.array(open_map()[start:stop])

    return StoredArray(given, shape, dtype, read)


def _of_characters(source: StoredArray) -> StoredArray:
    """The same, AligngapError where a number in its rows is no character's: Python has no string
    for it."""

    def read(start: int, stop: int) -> np.ndarray:
        rows = source.read(start, stop)
        codes = np.frombuffer(
            rows.tobytes(), np.dtype(np.uint32).newbyteorder(rows.dtype.byteorder)
        )
        if np.any(codes > 0x10FFFF) or np.any((codes >= 0xD800) & (codes <= 0xDFFF)):
            raise AligngapError(f"{source.given}: its strings are damaged: not all are Unicode")
        return rows

    return dataclasses.replace(source, read=read)


def _stored_header(file: IO[bytes], offset: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, Fortran order, dtype) of the .npy in a zip entry; leaves `file` at its data."""
    file.seek(offset)
    local = file.read(LOCAL_HEADER)
    lengths = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    file.seek(offset + LOCAL_HEADER + sum(lengths))
    return _header(file)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """That of a .npy, which leaves `file` at its data; ValueError for what is none, or pickled."""
    start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"it begins with {start!r}, and no .npy does" if start else "it is empty")
    file.seek(-len(start), io.SEEK_CUR)
    expect_short_header(file)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        found = np.lib.format.read_array_header_1_0(file)
    else:
        found = np.lib.format.read_array_header_2_0(file)
    shape, _, dtype = found
    if dtype.hasobject:
        raise ValueError("it holds Python objects; expected numbers or strings: save it as these")
    if not all(type(size) is int and size >= 0 for size in shape) or not dtype.itemsize:
        raise ValueError(f"its header says shape {shape} of {dtype}")
    return found


def expect_short_header(file: IO[bytes]) -> None:
    """ValueError where a .npy claims a header of more bytes than any has: NumPy reads all of them
    before it looks. Leaves `file` where it was."""
    start = file.read(12)
    file.seek(-len(start), io.SEEK_CUR)
    said = int.from_bytes(start[8:12], "little")  # From version 2 on; of version 1 two bytes.
    if start[6:7] > b"\1" and said > LONGEST_HEADER:
        raise ValueError(f"its header claims {said} bytes")


def _label_array(given: str | Path) -> np.ndarray:
    source = array(given)
    if len(source.shape) != 1 or source.dtype.kind not in "iuU":
        raise AligngapError(
            f"{given}: expected labels [N], whole numbers or strings; "
            f"found {source.dtype} {list(source.shape)}"
        )
    return source.read(0, source.shape[0])


def as_float32(rows: np.ndarray) -> Float[np.ndarray, "n D"]:
    """Rows of any of FLOATS; what float32 cannot hold becomes infinite, without a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(rows, np.float32)
