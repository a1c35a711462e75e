"""Packages are read in memory, and damaged ones are told in a line."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from aligngap.data import debian
from aligngap.data.debian import DebPin
from aligngap.errors import AligngapError

from packages import deb

FILES = {
    "usr/share/things/a.txt": b"first",
    "usr/share/things/below/b.bin": np.random.default_rng(0).bytes(200_001),
    "usr/share/thingsish/c.txt": b"a neighbour",
    "usr/share/doc/d.txt": b"elsewhere",
}
WANTED = {
    "a.txt": FILES["usr/share/things/a.txt"],
    "below/b.bin": FILES["usr/share/things/below/b.bin"],
}


@pytest.fixture
def package(tmp_path):
    return deb(FILES, tmp_path / "things_1.0_all.deb")


def test_plain_files_below_a_folder(package):
    assert dict(debian.members(package, "usr/share/things")) == WANTED
    assert dict(debian.members(package, "/usr/share/things/")) == WANTED
    assert dict(debian.members(package, "usr/share/nothing")) == {}


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here (it is Debian's)")
@pytest.mark.parametrize("how", ["xz", "gzip", "none"])
def test_what_dpkg_builds(how, tmp_path):
    root = tmp_path / "root"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "usr/share/things/link.txt").symlink_to("/etc/passwd")
    (root / "DEBIAN").mkdir()
    fields = "Package: things\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    (root / "DEBIAN" / "control").write_text(fields)
    path = tmp_path / "things.deb"
    command = ["dpkg-deb", f"-Z{how}", "--root-owner-group", "--build", str(root), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert dict(debian.members(path, "usr/share/things")) == WANTED


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "header", "no data", "flipped", "tail"])
def test_damaged_packages(damage, package):
    content = package.read_bytes()
    data = content.index(b"data.tar.xz")
    middle = (data + len(content)) // 2
    package.write_bytes(
        {
            "empty": b"",
            "text": b"<html>not found</html>",
            "cut": content[:middle],
            "header": content[: data + 48] + b"x" * 10 + content[data + 58 :],
            "no data": content[:data],
            "flipped": content[:middle] + bytes(64) + content[middle + 64 :],
            "tail": content[:-40],
        }[damage]
    )
    with pytest.raises(AligngapError, match=r"cannot read .*things_1\.0_all\.deb: ") as raised:
        list(debian.members(package, "usr/share/things"))
    assert len(str(raised.value).splitlines()) == 1


def test_one_that_was_fetched_is_checked_by_its_digest(package, tmp_path):
    pin = DebPin("things", "1.0", "0" * 64)
    with pytest.raises(AligngapError, match=r"things_1\.0_all\.deb"):
        debian.package(pin, tmp_path)
    assert DebPin("things", "1:2.0-3", "").filename == "things_1%3a2.0-3_all.deb"


def test_without_apt_it_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AligngapError, match=r"no apt-get here: put other_2\.0_all\.deb of any"):
        debian.package(DebPin("other", "2.0", "0" * 64), tmp_path)


def test_an_apt_that_fails_is_told_in_its_own_words(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'E: Unable to locate package other' >&2\nexit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(AligngapError, match=r"apt-get download.*Unable to locate package other"):
        debian.package(DebPin("other", "2.0", "0" * 64), tmp_path / "downloads")
    assert not any((tmp_path / "downloads").glob("*.deb"))
