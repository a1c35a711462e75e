"""Shards in a store that speaks S3: the same records and the same stream as the same shards on
this machine, few requests, errors in one line, and credentials that stay where they are."""

import hashlib
import io
import json
import re
import subprocess
import tarfile
import traceback
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligngap.cli import main
from aligngap.data import remote
from aligngap.data.sources import index
from aligngap.errors import StoreError

import in_store
import store_server
from forms import FORMS, Pair, add, shards, table
from store_server import PYTHON, SECRET, Proxy, Store

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-s3; launch/test.sh makes it"),
]
BLOCKS = {"shuffle": "block", "block_size": 32, "window_blocks": 3}
READER = Path(__file__).with_name("in_store.py")
REMOTE_FORMS = ("table", "parquet", "coco", "karpathy", "sidecars")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    found = Store(tmp_path_factory.mktemp("store") / "log.txt")
    yield found
    found.end()


@pytest.fixture(scope="module")
def proxy(store):
    found = Proxy(store.port)
    yield found
    found.end()


@pytest.fixture(autouse=True)
def _nothing_is_spoiled(proxy):
    proxy.forget()


@pytest.fixture(scope="module")
def aligngap(proxy):
    """(argument, ...) → `aligngap ...`, done, by a python that knows s3://."""

    def run(*arguments, **environment) -> subprocess.CompletedProcess:
        command = [PYTHON, "-m", "aligngap.cli", *map(str, arguments)]
        own = store_server.environment(proxy, **environment)
        return subprocess.run(command, env=own, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="module")
def stream(proxy):
    """(folder, name, fields of digests) → the batches' digests, by a process of its own."""

    def run(data, name, **fields):
        command = [PYTHON, str(READER), str(data), name, json.dumps(fields)]
        own = store_server.environment(proxy)
        return subprocess.run(command, env=own, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="module")
def both(pairs, store, aligngap, tmp_path_factory):
    """A folder with three corpora of the same two shards: `far`, `near` and `copied`."""
    folder = tmp_path_factory.mktemp("both")
    given = shards(pairs, folder / "tars")
    far = store.upload(folder / "tars", "both") + "/*.tar"
    data = f"--data_dir={folder / 'data'}"
    for name, *more in (("far",), ("copied", "--convert")):
        done = aligngap("prepare", f"--source={far}", f"--name={name}", data, *more)
        assert done.returncode == 0, done.stderr
    assert main(["prepare", f"--source={given}", "--name=near", data, "--workers=1"]) == 0
    return folder / "data"


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def batches(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def one_line(done, code: int = 1) -> str:
    """The line that a failed command ends with, after its progress."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_indexes_are_those_of_the_same_shards_here(both):
    for split in ("train", "validation", "test"):
        far, near = (index.path(both / name, split).read_bytes() for name in ("far", "near"))
        assert far == near
    listed = [(both / name / "left_out.tsv").read_bytes() for name in ("far", "near")]
    assert listed[0] == listed[1]


@pytest.mark.parametrize("shuffle", ["block", "global"])
def test_the_stream_is_that_of_the_same_shards_here(shuffle, both, stream):
    """For any workers, processes (which hold some rows) and restarts."""
    # In blocks beyond an epoch.
    fields = BLOCKS | {"shuffle": shuffle, "batches": 13 if shuffle == "block" else 4}
    wanted = in_store.digests(both, "near", **fields)
    assert in_store.digests(both, "copied", **fields) == wanted
    for workers in (0, 2):
        assert batches(stream(both, "far", **fields, workers=workers)) == wanted
    assert batches(stream(both, "far", **fields | {"first": 2, "batches": 2})) == wanted[2:4]
    rows = fields | {"rows": [1, 5, 9, 13]}
    some = in_store.digests(both, "near", **rows)
    assert batches(stream(both, "far", **rows)) == some


def test_far_shards_are_shuffled_in_blocks_unless_told_otherwise(both, stream):
    fields = BLOCKS | {"batches": 3}
    wanted = in_store.digests(both, "near", **fields)
    assert batches(stream(both, "far", **fields | {"shuffle": ""})) == wanted
    assert in_store.digests(both, "near", **fields | {"shuffle": ""}) != wanted


def test_a_block_takes_one_request_and_a_shard_is_looked_at_once(both, stream, proxy):
    """An epoch: 273 records of two shards in blocks of 32 are ten blocks."""
    records = len(np.fromfile(index.path(both / "far", "train"), index.RECORD))
    assert records == 273
    batches(stream(both, "far", **BLOCKS, batches=records // 24))
    gets = [asked for asked in proxy.asked if asked.method == "GET"]
    assert len({*gets}) == 10
    assert len(gets) <= 20  # What is read ahead is of another epoch.
    assert proxy.count("HEAD", r"\.tar") == 2


def test_without_blocks_a_record_takes_one_request(both, stream, proxy):
    batches(stream(both, "far", shuffle="global", batches=4))
    read = 4 * 24
    ahead = 10 * 24  # Batches that were under way.
    assert read <= proxy.count("GET", r"\.tar") <= read + ahead
    assert all(asked.range for asked in proxy.asked if asked.method == "GET")
    assert proxy.count("HEAD", r"\.tar") == 2
    sizes = {int(b) - int(a) + 1 for a, b in re.findall(r"bytes=(\d+)-(\d+)", str(proxy.asked))}
    assert max(sizes) < 64 * 1024  # Of one picture, not of a block.


@pytest.mark.parametrize("form", REMOTE_FORMS)
def test_other_forms(form, pairs, store, aligngap, stream, tmp_path):
    write, flags = FORMS[form]
    given = write(pairs[:60], tmp_path / form)
    below = given.relative_to(tmp_path / form).as_posix().removesuffix(".")
    address = f"{store.upload(tmp_path / form, f'forms/{form}')}/{below}"
    data = f"--data_dir={tmp_path / 'data'}"
    done = aligngap("prepare", f"--source={address}", "--name=far", data, *flags)
    assert done.returncode == 0, done.stderr
    assert main(["prepare", f"--source={given}", "--name=near", data, "--workers=1", *flags]) == 0
    far, near = (contents(tmp_path / "data" / name) for name in ("far", "near"))
    for file in ("train.index", "validation.index", "test.index", "statistics.json"):
        assert far.get(file) == near.get(file), file
    if form in ("table", "parquet"):
        fields = {"batches": 3, "batch": 16}
        wanted = in_store.digests(tmp_path / "data", "near", **fields)
        assert batches(stream(tmp_path / "data", "far", **fields)) == wanted


def test_a_saved_dataset_is_refused(store, pairs, aligngap, tmp_path):
    write, _ = FORMS["saved"]
    address = store.upload(write(pairs[:20], tmp_path / "saved"), "saved")
    done = aligngap("prepare", f"--source={address}", "--name=far", f"--data_dir={tmp_path}")
    assert "Copy it here, or write it as parquet" in one_line(done, 2)


def test_images_of_a_table_may_lie_in_a_store(pairs, store, aligngap, tmp_path):
    """A table here with addresses; what leads out of the bucket, to a site or to this machine is
    left out."""
    given = table(pairs[:40], tmp_path / "t")
    address = store.upload(tmp_path / "t", "mixed")
    secret = tmp_path / "passwords.png"
    secret.write_bytes(pairs[50].image)
    rows = given.read_text().replace("images/", f"{address}/images/")
    bad = [f"http://127.0.0.1/a.jpg?token={SECRET},a site", f"s3://K:{SECRET}@b/c.png,a key"]
    given.write_text(rows + "\n".join([*bad, "http://127.0.0.1/a.jpg,a site", ""]))
    done = aligngap("prepare", f"--source={given}", "--name=here", f"--data_dir={tmp_path}")
    assert "left out               2 credentials in an address" in done.stdout
    assert "left out               1 an image is only a URL" in done.stdout
    about = json.loads((tmp_path / "here" / "corpus.json").read_text())
    assert sum(split["records"] for split in about["splits"].values()) == 40

    leading = f"{secret},passwords\n../../../../../..{secret},passwords\n"
    far = tmp_path / "t" / "images" / "far.csv"
    far.write_text("filepath,title\n../images/" + f"{pairs[0].name}.png,one\n{leading}")
    store.upload(tmp_path / "t" / "images", "mixed/images")
    done = aligngap(
        "prepare", f"--source={address}/images/far.csv", "--name=far", f"--data_dir={tmp_path}",
        "--test_share=0", "--validation_share=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left out               2 image is missing" in done.stdout
    assert no_secret(tmp_path / "here", done)


@pytest.fixture
def own(pairs, store, tmp_path):
    """The address of two shards that a test may spoil."""
    shards(pairs, tmp_path / "tars")
    return store.upload(tmp_path / "tars", tmp_path.name)


def prepare(aligngap, address, tmp_path):
    return aligngap(
        "prepare", f"--source={address}/*.tar", "--name=far", f"--data_dir={tmp_path / 'data'}"
    )


FAULTS = ("500", "reset", "cut", "stall")


def test_what_passes_is_tried_again_and_a_slow_answer_is_waited_for(
    own, both, aligngap, stream, proxy, tmp_path
):
    """Requests for a shard fail first, each time in another way, then drip."""

    def fault(asked, before):
        if ".tar" not in asked.path or asked.method == "HEAD":
            return ""
        return FAULTS[before] if before < len(FAULTS) else "drip"

    # Longer than an answer takes on a busy machine; each stall costs as much.
    proxy.fault, proxy.patience = fault, 8.0
    done = prepare(aligngap, own, tmp_path)
    assert done.returncode == 0, done.stderr
    far, near = (index.path(f, "train") for f in (tmp_path / "data" / "far", both / "near"))
    assert far.read_bytes() == near.read_bytes()
    proxy.asked.clear()
    fields = BLOCKS | {"batches": 2}
    again = batches(stream(tmp_path / "data", "far", **fields))
    assert again == in_store.digests(both, "near", **fields)
    repeated = proxy.count("GET", r"\.tar") - len({a for a in proxy.asked if a.method == "GET"})
    # Of one shard, or of both; on a busy machine a client may lose its patience once more.
    assert len(FAULTS) <= repeated <= 4 * len(FAULTS)


def test_a_large_shard_is_fetched_in_parts_and_each_is_tried_again(
    store, aligngap, proxy, tmp_path
):
    noise = np.random.default_rng(0).integers(0, 256, (14, 1000, 1000, 3), np.uint8)
    pictures = [Pair(f"{n:02d}", png(pixels), [f"noise {n}"]) for n, pixels in enumerate(noise)]
    given = shards(pictures[:2], tmp_path / "tars").parent / "00000.tar"
    with tarfile.open(given, "w") as archive:
        for picture in pictures:
            add(archive, f"{picture.name}.png", picture.image)
            add(archive, f"{picture.name}.txt", picture.captions[0].encode())
    (given.parent / "00001.tar").unlink()
    address = store.upload(given.parent, "large")
    proxy.fault = lambda asked, before: "cut" if asked.method == "GET" and before == 1 else ""
    done = aligngap(
        "prepare", f"--source={address}/00000.tar", "--name=far", f"--data_dir={tmp_path}",
        "--test_share=0", "--validation_share=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train                 14 images" in done.stdout
    fetched = [a.range for a in proxy.asked if a.method == "GET" and a.range][:3]
    assert fetched[0].startswith("bytes=0-")
    assert fetched[1] == fetched[2] == f"bytes={2**25}-{given.stat().st_size - 1}"


@pytest.mark.parametrize("fault", ["500", "stall"])
def test_a_store_that_fails_ends_the_pass_and_it_goes_on(
    fault, own, both, aligngap, proxy, tmp_path
):
    """A shard is never left out for it; retries are bounded."""
    proxy.fault = lambda asked, before: fault if "00001.tar" in asked.path else ""
    proxy.patience = 1.0
    line = one_line(failed := prepare(aligngap, own, tmp_path))
    assert re.search(r"00001\.tar cannot be read, its store fails \(.*\); the same command", line)
    assert len(proxy.asked) < 30
    assert not (tmp_path / "data" / "far").exists()
    proxy.forget()
    done = prepare(aligngap, own, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        contents(tmp_path / "data" / "far")["train.index"] == contents(both / "near")["train.index"]
    )
    assert no_secret(tmp_path / "data", failed, done)


@pytest.mark.parametrize("form", ["parquet", "table"])
def test_nothing_is_left_out_for_a_store_that_fails(form, pairs, store, aligngap, proxy, tmp_path):
    """A row group, or an image, that it does not give now; an image that is not there is."""
    given = FORMS[form][0](pairs[:70], tmp_path / form)
    address = f"{store.upload(tmp_path / form, f'failing/{form}')}/{given.name}"
    image, group = f"{pairs[3].name}.png", "bytes=4-"

    def failing(status):
        def fault(asked, before):
            return status if image in asked.path or asked.range.startswith(group) else ""

        proxy.fault = fault
        asked = f"--source={address}", "--name=far", f"--data_dir={tmp_path / 'data'}"
        return aligngap("prepare", *asked)

    assert "its store fails" in one_line(failing("500"))
    assert not (tmp_path / "data" / "far").exists()
    if form == "table":
        done = failing("404")
        assert done.returncode == 0, done.stderr
        assert "left out               1 image is missing" in done.stdout


def test_what_a_client_says_is_told_without_its_signed_address():
    with pytest.raises(StoreError) as caught, remote.asking("hf://datasets/some/name/0.tar"):
        raise RuntimeError(f"GET https://host/0.tar?X-Amz-Signature={SECRET} failed")
    assert "GET https://host/0.tar?*** failed" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("fault", "workers"), [("500", 0), ("reset", 1), ("403", 0), ("404", 1)])
def test_no_other_record_takes_the_place_of_one_that_the_store_withholds(
    fault, workers, both, stream, proxy
):
    """Training ends with a line, and says whether a shard is gone."""
    proxy.fault = lambda asked, before: (
        fault if "00001.tar" in asked.path and asked.method == "GET" else ""
    )
    line = one_line(stream(both, "far", **BLOCKS, workers=workers))
    expected = {"403": "StoreError.*access was refused.*environment variables", "404": "Gone.*gone"}
    assert re.search(expected.get(fault, "StoreError.*its store fails"), line)
    assert "00001.tar" in line
    assert len(proxy.asked) < 120  # Two threads, and ten tries of each.


def test_a_shard_that_is_gone_or_was_changed_is_told(own, store, aligngap, stream, proxy, tmp_path):
    done = prepare(aligngap, own, tmp_path)
    assert done.returncode == 0, done.stderr
    path, data = own.removeprefix("s3:/"), tmp_path / "data"
    content = store.ask("GET", f"{path}/00001.tar")
    store.ask("PUT", f"{path}/00001.tar", content[:-512] + bytes(511) + b"!")  # Of the same size.
    line = one_line(stream(data, "far", **BLOCKS))
    assert "00001.tar has changed since it was indexed" in line
    store.ask("DELETE", f"{path}/00001.tar")
    assert re.search(r"Gone: s3://.*00001\.tar is gone", one_line(stream(data, "far", **BLOCKS)))


def test_a_bucket_that_is_not_there(aligngap, tmp_path):
    done = prepare(aligngap, "s3://nobodys", tmp_path)
    assert "s3://nobodys/*.tar" in one_line(done)
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    asked = "prepare", "--source=s3://pairs/both/*.tar", "--name=far", f"--data_dir={tmp_path}"
    assert "its store fails" in one_line(aligngap(*asked, **nobody))


def test_a_scheme_without_its_package_names_the_extra(tmp_path, capsys):
    """This environment has no gcsfs."""
    for scheme, extra in (("gs", "gcs"), ("s3", "s3")):
        asked = f"--source={scheme}://bucket/*.tar", "--name=far", f"--data_dir={tmp_path}"
        assert main(["prepare", *asked]) == 2
        assert f'`pip install "aligngap[{extra}]"`' in capsys.readouterr().err
    assert main(["prepare", "--source=what://a/*.tar", *asked[1:]]) == 2
    assert "Protocol not known: what" in capsys.readouterr().err


def test_the_stores_credentials_stand_nowhere(both):
    assert no_secret(both)


def no_secret(folder: Path, *done) -> bool:
    said = [text.encode() for each in done for text in (each.stdout, each.stderr)]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return not any(SECRET.encode() in content for content in [*said, *files])


def png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG", compress_level=0)
    return written.getvalue()
