"""Files in remote stores, through fsspec: s3://, gs://, hf:// and all others that it knows.

Each store's own client tries again, with growing pauses, and gives up after some tries; nothing is
tried again on top of that. What fails then is a StoreError in one line.
"""

import contextlib
import functools
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aligngap import addresses
from aligngap.errors import AligngapError, Gone, StoreError, UsageError

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf"}  # Scheme → pip's extra.
NO_STORES = ("file", "local", "memory")
GLOB = re.compile(r"[*?\[]")
# What tells a version of a file, as the listings of the stores call it; the first that there is.
VERSIONS = (
    *("ETag", "etag", "blob_id", "Content-MD5", "md5Hash", "md5"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "modified"),
)
PART = 2**25  # Bytes that are copied by a request.


def matching(given: str) -> list[str]:
    """What an address or a glob names, in order."""
    with asking(given) as store:
        if not GLOB.search(given):
            return [given] if store.exists(given) else []
        return sorted(_address(given, name) for name in store.glob(given))


def is_folder(path: str) -> bool:
    return bool(_info(path)["type"] == "directory")


def listing(folder: str) -> list[str]:
    """Names below a folder."""
    with asking(folder) as store:
        start = store._strip_protocol(folder).rstrip("/") + "/"
        return sorted(name.removeprefix(start) for name in store.find(folder))


def stamp(path: str) -> str:
    """Size, and the store's own tag, else the time of change."""
    about = _info(path)
    return f"{about['size']} {next((str(about[v]) for v in VERSIONS if about.get(v)), '')}"


def read(path: str, offset: int, size: int | None) -> bytes:
    """In one request. StoreError where fewer bytes come than were asked for."""
    with asking(path) as store:
        if size is None:
            return _whole(store, path, offset)
        found: bytes = store.cat_file(path, start=offset, end=offset + size)
    if len(found) != size:
        raise StoreError(
            f"{path} gave {len(found)} bytes from {offset} on, expected {size}: has it changed?"
        )
    return found


def fetch(path: str, target: Path) -> None:
    """Copies a file to this machine, in parts: clients that copy a large file whole do not all try
    again where an answer breaks off, and hold much of it in memory."""
    size = int(_info(path)["size"])
    with target.open("wb") as file:
        for start in range(0, size, PART):
            file.write(read(path, start, min(PART, size - start)))


def joined(folder: str, name: str) -> str:
    """An address below the folder's bucket or host, whatever the name says."""
    start, _, below = folder.partition("://")
    host, _, path = below.partition("/")
    return f"{start}://{host}{posixpath.normpath(f'/{path}/{name}')}"


@contextlib.contextmanager
def asking(address: str) -> Iterator[Any]:
    """The store of an address; whatever it fails with becomes one line, without secrets.

    Clients have no common error: an OSError, botocore's, aiohttp's, ...
    """
    store = _store(address)
    try:
        yield store
    except AligngapError:
        raise
    except FileNotFoundError:
        raise Gone(f"{address} is gone: the store has nothing of that name") from None
    except PermissionError as error:
        raise StoreError(
            f"{address}: access was refused ({_words(error)}); {addresses.HOW}"
        ) from None
    except Exception as error:
        raise StoreError(
            f"{address} cannot be read, its store fails ({_words(error)}); the same command goes "
            "on once it answers"
        ) from None


def _info(path: str) -> dict[str, Any]:
    with asking(path) as store:
        found: dict[str, Any] = store.info(path)
        return found


def _whole(store: Any, path: str, offset: int) -> bytes:
    """By a range: clients ask for the size before they give a whole file."""
    try:
        return bytes(store.cat_file(path, start=offset))
    except FileNotFoundError:
        raise
    except Exception:
        if store.info(path)["size"] > offset:
            raise
        return b""  # No range lies in an empty file.


def _store(address: str) -> Any:
    host = address.partition("://")[2].partition("/")[0]
    return _opened(addresses.scheme(address), host)


@functools.lru_cache(maxsize=64)
def _opened(scheme: str, host: str) -> Any:
    """A filesystem of fsspec's, shared by all threads. It keeps no listings: they would hide
    changes."""
    import fsspec

    if scheme in NO_STORES:
        raise UsageError(f"{scheme}://...: give the path itself, without a scheme")
    try:
        kind = fsspec.get_filesystem_class(scheme)
        options = kind._get_kwargs_from_urls(f"{scheme}://{host}/")
        return kind(**options, use_listings_cache=False)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        how = f'`pip install "aligngap[{extra}]"`' if extra else str(error)
        raise UsageError(f"{scheme}://... needs a package that is not installed: {how}") from None
    except ValueError as error:
        raise UsageError(f"{scheme}://{host}/...: {_words(error)}") from None
    except Exception as error:  # Some look for their credentials when they are made.
        raise StoreError(f"{scheme}://{host}/ cannot be opened ({_words(error)})") from None


def _address(given: str, name: str) -> str:
    """The address of what a store lists: it leaves out scheme, account and host."""
    if "://" in name:
        return name
    start, _, below = given.partition("://")
    return f"{start}://{below.partition('/')[0]}/{name.partition('/')[2]}"


def _words(error: Exception) -> str:
    """The first line of an error, without secrets."""
    text = " ".join(addresses.redacted(str(error)).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
