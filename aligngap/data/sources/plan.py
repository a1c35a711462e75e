"""What the user named → the format it has, its shards, and the split that each is for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from braceexpand import braceexpand

from aligngap import json_text
from aligngap.addresses import is_remote
from aligngap.data import store
from aligngap.data.sources import columnar, tables
from aligngap.data.sources.lines import Row
from aligngap.data.sources.raw import Columns, LeftOut, role_of
from aligngap.errors import AligngapError, UsageError

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
GZIP = b"\x1f\x8b"  # How its files begin.
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Named:
    """What one of the user's names stands for."""

    format: str  # tar | parquet | arrow | table | folder
    paths: tuple[str, ...]
    role: str  # Of all its records; "": by the shares, or as its rows say.
    images: str = ""  # The folder that the paths in it are relative to.


def all_named(sources: Mapping[str, str], columns: Columns) -> list[Named]:
    """What the names of all roles stand for, each file once; UsageError for one of two roles."""
    roles: dict[str, str] = {}
    parts = [part for role, given in sources.items() for part in named(given, role, columns)]
    once = [
        replace(part, paths=tuple(path for path in part.paths if _new(path, part.role, roles)))
        for part in parts
    ]
    return [part for part in once if part.paths]


def _new(path: str, role: str, roles: dict[str, str]) -> bool:
    """Whether no other name stood for the file so far: `roles` says whose those are."""
    same = store.identity(path)
    if same not in roles:
        roles[same] = role
        return True
    if roles[same] != role:
        whose = " and ".join(f"for {name or 'training'}" for name in (roles[same], role))
        raise UsageError(f"{path} is {whose}: give each split files of its own")
    return False


def named(given: str, role: str, columns: Columns) -> list[Named]:
    """UsageError or AligngapError where it is nothing that a corpus can be made of."""
    found = store.several(store.paths, _expanded(given))
    paths = [path for matching in found for path in matching]
    if len(paths) == 1 and store.is_folder(paths[0]):
        return _in_folder(paths[0], role, columns)
    return _of_files(given, paths, role, columns)


def _expanded(given: str) -> list[str]:
    """ "{00000..00099}.tar" → every name it stands for, as shells and webdataset understand it."""
    if store.exists(given):
        return [given]
    try:
        return list(braceexpand(given, escape=False))
    except ValueError as error:
        raise UsageError(f"{given}: a brace has no other half") from error


def _of_files(given: str, paths: Sequence[str], role: str, columns: Columns) -> list[Named]:
    suffixes = {_suffix(path) for path in paths}
    if suffixes == {".tar"}:
        _check_plain(paths)
        return [Named("tar", tuple(paths), role)]
    if suffixes == {".parquet"} and not columnar.names_paths(paths[0], columns):
        return [Named("parquet", tuple(paths), role)]
    if len(suffixes) == 1 and suffixes <= {*TABLES}:
        return [Named("table", (path,), role, store.parent(path)) for path in paths]
    raise UsageError(
        f"{given} is {', '.join(sorted(suffixes))}; expected files of one kind: *.tar, "
        f"*{', *'.join(TABLES)}, or one folder"
    )


def _check_plain(tars: Sequence[str]) -> None:
    """UsageError for a compressed tar; of remote ones the names must suffice."""
    for path in tars:
        gzipped = not is_remote(path) and store.read(path, 0, len(GZIP)) == GZIP
        if gzipped or path.endswith(".gz"):
            raise UsageError(
                f"{path} is compressed, and no record of it could be read alone: unpack it (gunzip "
                "leaves a .tar), images are compressed anyway"
            )


def below(given: Named, images: str) -> Named:
    """The same, the paths in a table relative to a folder that the user names; "": its own."""
    if not images or given.format != "table":
        return given
    return replace(given, images=store.absolute(images) if store.exists(images) else images)


def rows(given: Named, root: str, columns: Columns, fetched: Path) -> Iterator[Row | LeftOut]:
    """The rows of a table or a folder, their images named from `root` where they lie below it; a
    remote table is held in the folder `fetched` meanwhile."""
    for row in _rows(given, columns, fetched):
        yield row if isinstance(row, LeftOut) else _placed(row, given, root, columns)


def _rows(given: Named, columns: Columns, fetched: Path) -> Iterator[Row | LeftOut]:
    (path,) = given.paths
    if given.format == "folder":
        yield from tables.folder(path, store.listing(path), IMAGES)
        return
    with store.local(path, fetched) as table:
        yield from tables.rows(table, columns)


def _placed(row: Row, given: Named, root: str, columns: Columns) -> Row:
    role = {"split": given.role} if given.role else {}
    name = columns.image_in(row)
    if not row.get(name) or given.images == root:
        return {**row, **role}
    whole = store.joined(given.images, str(row[name]))
    return {**row, **role, name: whole.removeprefix(f"{root}/")}


def _in_folder(folder: str, role: str, columns: Columns) -> list[Named]:
    names = store.listing(folder)
    if {"dataset_dict.json", "state.json"} & {*names}:
        return _saved(folder, role)
    tars = [name for name in names if name.endswith(".tar")]
    tables = {name.removesuffix(".tar") + ".parquet" for name in tars}  # As img2dataset leaves.
    parquets = [name for name in names if name.endswith(".parquet") and name not in tables]
    pictures = [name for name in names if _suffix(name) in IMAGES]
    if not (found := [kind for kind in (tars, parquets, pictures) if kind]):
        raise UsageError(f"{folder} holds no image, *.tar or *.parquet, and no saved dataset")
    if len(found) > 1:
        examples = " and ".join(kind[0] for kind in found)
        glob = PurePosixPath(found[0][0]).with_name(f"*{_suffix(found[0][0])}")
        raise UsageError(
            f"{folder} holds files of several kinds ({examples}); expected one: name those that "
            f"are meant, such as '{store.joined(folder, str(glob))}', or move the others elsewhere"
        )
    if pictures:
        return [Named("folder", (folder,), role, store.absolute(folder))]
    shards = [store.joined(folder, name) for name in found[0]]
    return _of_files(folder, shards, role, columns)


def _saved(given: str, role: str) -> list[Named]:
    """What `save_to_disk` left: one dataset, or a folder of them."""
    if is_remote(given):
        raise UsageError(
            f"{given} is a saved Hugging Face dataset: its Arrow files are mapped into memory, "
            "which takes them on this machine. Copy it here, or write it as parquet "
            "(Dataset.to_parquet)"
        )
    folder = Path(given)
    if (folder / "dataset_dict.json").is_file():
        splits = _listed(folder / "dataset_dict.json", lambda found: found["splits"])
        return [
            part
            for split in splits
            for part in _saved(str(folder / split), role or _role(split, given))
        ]
    files = _listed(
        folder / "state.json", lambda found: [file["filename"] for file in found["_data_files"]]
    )
    return [Named("arrow", tuple(str(folder / file) for file in files), role)]


def _role(split: str, given: str) -> str:
    try:
        return role_of([split])
    except LeftOut as unknown:
        raise UsageError(
            f"{given}: {unknown}: name its folders with --source, --validation and --test"
        ) from None


def _suffix(path: str) -> str:
    return PurePosixPath(path.removesuffix(".gz")).suffix.lower()


def _listed(path: Path, within: Callable[[Any], Any]) -> list[str]:
    """The names in a file's JSON of what lies beside it; AligngapError where there are none."""
    try:
        found = within(json_text.value(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AligngapError(f"{path} cannot be read: {type(error).__name__} {error}") from error
    if not isinstance(found, list) or not found or not all(map(_is_name, found)):
        raise AligngapError(f"{path} does not list the names of what lies beside it")
    return [Path(name).name for name in found]


def _is_name(given: Any) -> bool:
    """Whether its last part can be that of a file or folder."""
    named = isinstance(given, str) and given.isprintable()
    return named and PurePosixPath(given).name not in ("", "..")
