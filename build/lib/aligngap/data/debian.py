"""Files of pinned Debian packages, checked by SHA-256 and read in memory; nothing is unpacked."""

import io
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aligngap import progress
from aligngap.data import fetch
from aligngap.errors import AligngapError

MAGIC = b"!<arch>\n"  # Of an ar archive, which a package is.
HEADER = 60  # Bytes, of each of its members.
CHUNK = 2**20  # Bytes.
DAMAGED = (lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class DebPin:
    """One package: its name, exact version, architecture-free file and that file's SHA-256."""

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """As apt names it: the colon of an epoch is written as %3a."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"


def package(pin: DebPin, downloads: Path) -> Path:
    """The package in `downloads`, fetched there first if it is missing; AligngapError where that
    cannot be done."""
    path = downloads / pin.filename
    if path.exists():
        fetch.check_cached(path, pin.sha256)
        return path
    if not shutil.which("apt-get"):
        raise AligngapError(
            f"{pin.name} {pin.version} is a Debian package and there is no apt-get here: put "
            f"{pin.filename} of any Debian mirror into {downloads}"
        )
    progress.say(f"Fetching {pin.name} {pin.version} with apt-get")
    with fetch.partial_folder(downloads) as folder:
        # The sandbox user that apt downloads as may not write here: it says so, and root does it.
        command = ["apt-get", "download", "--quiet", f"{pin.name}={pin.version}"]
        fetch.run(command, "apt-get download", folder)
        return fetch.keep(folder / pin.filename, pin.sha256, downloads)


def members(path: Path, below: str) -> Iterator[tuple[str, bytes]]:
    """(path below `below`, content) of each plain file there, in the archive's order."""
    prefix = f"./{below.strip('/')}/"
    try:
        with tarfile.open(fileobj=io.BytesIO(_data(path)), mode="r:*") as archive:
            for entry in archive:
                if entry.isreg() and entry.name.startswith(prefix):
                    stream = archive.extractfile(entry)
                    assert stream is not None  # It is a plain file.
                    yield entry.name.removeprefix(prefix), stream.read()
            while archive.fileobj.read(CHUNK):  # A checksum is last.
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError, *DAMAGED) as error:
        raise AligngapError(f"cannot read {path}: {error}") from error


def _data(path: Path) -> bytes:
    """The compressed tar of the package's files: the member of the ar archive called data.tar.*."""
    content = path.read_bytes()
    place = len(MAGIC)
    while content.startswith(MAGIC) and place + HEADER <= len(content):
        header = content[place : place + HEADER]
        name, size = header[:16].decode("ascii").strip(), int(header[48:58])
        place += HEADER
        if name.startswith("data.tar"):
            return content[place : place + size]
        place += size + size % 2
    raise ValueError("it is no Debian package")
