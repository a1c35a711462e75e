"""Debian packages of a few files, as dpkg-deb builds them: an ar archive of three members."""

import io
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path


def deb(files: Mapping[str, bytes], path: Path) -> Path:
    """A package with these files: path from the root → content."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": lzma.compress(_tar({"control": b"Package: x\n"})),
        "data.tar.xz": lzma.compress(_tar(files)),
    }
    path.write_bytes(b"!<arch>\n" + b"".join(_member(*member) for member in members.items()))
    return path


def _member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


def _tar(files: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("./usr/share/things/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return written.getvalue()
