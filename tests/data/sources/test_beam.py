"""Conversion by Apache Beam, in an environment of its own: the corpus that one machine makes.

Only Beam's DirectRunner, with several processes: no cluster can be had in a test.
"""

import os
import subprocess
import tarfile
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image
from test_damaged import encoded
from test_kills import contents

from aligngap.cli import main
from aligngap.data import corpora

import store_server
from forms import Pair, add, parquet, table

ROOT = Path(__file__).parents[3]
THERE = ROOT / ".venv-beam" / "bin" / "python"  # launch/test.sh makes it.
ONE = "runner=DirectRunner"
# No multi_threading: there Beam 2.77 itself loses records, of which the command then tells.
PROCESSES = "runner=DirectRunner,direct_num_workers=2,direct_running_mode=multi_processing"
OWN = ("dataset_info.json", "report.html")  # TFDS's module; pictures by another Pillow.
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.timeout(1800),  # A program takes 10 s, and minutes on a machine with much to do.
    pytest.mark.skipif(not THERE.exists(), reason="no .venv-beam; launch/test.sh makes it"),
]


def command(given, data: Path, options: str, *more: str) -> list[str]:
    by = [f"--beam_pipeline_options={options}"] if options else ["--workers=1"]
    flags = [f"--source={given}", "--name=mine", f"--data_dir={data}", "--convert", *by, *more]
    return [str(THERE), "-m", "aligngap.cli", "prepare", *flags]


def run(*given) -> subprocess.CompletedProcess:
    return subprocess.run(command(*given), capture_output=True, text=True, env=environment())


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def files(folder: Path) -> dict[str, str]:
    """Name → digest of what does not depend on who made the corpus."""
    return {name: sha for name, sha in contents(folder).items() if name not in OWN}


def records(folder: Path) -> dict[str, list]:
    corpus = corpora.find(folder.name, folder.parent)
    sources = {split.name: corpus.open(split.name) for split in corpus.splits}
    return {name: [source[row] for row in range(len(source))] for name, source in sources.items()}


def reasons(folder: Path) -> list[str]:
    """Of all that was left out."""
    lines = (folder / "left_out.tsv").read_text().splitlines()[1:]
    return [line.partition("\t")[0] for line in lines]


def damaged(pairs: list[Pair], folder: Path) -> Path:
    """Six tars, in each of which something is no record, in another way."""
    large = Image.new("1", (10_000, 10_000))  # Pillow only warns of it.
    image = pairs[0].image
    bad = [
        [("large.png", encoded(large, "PNG")), ("large.txt", b"large")],
        [("cut.png", image[:-200]), ("cut.txt", b"cut off")],
        [("latin.png", image), ("latin.txt", "une fenêtre".encode("latin-1"))],
        [("silent.png", image)],
        [("huge.png", encoded(large, "PNG")), ("huge.txt", b"once more")],
        [("empty.jpg", b""), ("empty.txt", b"empty")],
    ]
    folder.mkdir()
    for number, members in enumerate(bad):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for place, pair in enumerate(pairs[number :: len(bad)]):
                for name, content in members if place == 20 else ():
                    add(archive, name, content)
                add(archive, f"{pair.name}.png", pair.image)
                add(archive, f"{pair.name}.txt", pair.captions[0].encode())
    return folder / "*.tar"


def missing(pairs: list[Pair], folder: Path) -> Path:
    """A table with rows that are none, and images that are gone."""
    path = table(pairs, folder)
    for pair in pairs[10:20]:
        (folder / "images" / f"{pair.name}.png").unlink()
    path.write_text(path.read_text() + "images/a.png\nimages/a.png,b,c\n")
    return path


@pytest.mark.parametrize(
    ("write", "options", "left_out"),
    [
        (damaged, PROCESSES, 6),
        (missing, PROCESSES, 12),
        (parquet, ONE, 0),
    ],
    ids=["tars", "table", "parquet"],
)
def test_the_corpus_is_that_of_one_machine(write, options, left_out, pairs, make, tmp_path):
    """Its records, their splits and order; what was left out, and why; every byte of its shards."""
    given = write(pairs, tmp_path / "given")
    alone = make(given, convert=True)
    done = run(given, tmp_path / "many", options)
    assert done.returncode == 0, done.stderr
    assert records(tmp_path / "many" / "mine") == records(tmp_path / "data" / alone.name)
    assert files(tmp_path / "many" / "mine") == files(tmp_path / "data" / "mine")
    assert {path.name for path in (tmp_path / "many").iterdir()} == {".mine.lock", "mine"}
    assert len(reasons(tmp_path / "many" / "mine")) == left_out


def test_what_compares_all_records_and_what_changes_them(pairs, tmp_path):
    """Splits by caption, repeated captions, filters, smaller images; the other in the same
    environment, since Pillow's versions compress differently."""
    few = [pair._replace(captions=[f"caption {i // 3}"]) for i, pair in enumerate(pairs)]
    given = parquet([*few[:200], *pairs[200:]], tmp_path / "given")
    more = ["--split_by=caption", "--test_share=0.2", "--resize=40", "--min_caption=6"]
    for folder, options in (("alone", ""), ("many", PROCESSES)):
        done = run(given, tmp_path / folder, options, "--drop_duplicate_captions", *more)
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "many" / "mine") == files(tmp_path / "alone" / "mine")
    splits = records(tmp_path / "many" / "mine")
    captions = [text for split in splits.values() for record in split for text in record.captions]
    assert len(splits["test"]) > 20
    assert len(captions) == len(set(captions)) > 60


def killed(arguments: list[str], until) -> list[psutil.Process]:
    """Kills the program once `until()`, which then was still at work; the processes it had."""
    process = subprocess.Popen(
        arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment()
    )
    while not until():
        assert process.poll() is None
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    return workers


def test_killed_while_it_examines_and_while_it_copies(pairs, make, tmp_path):
    """The same command then ends with the same bytes; it keeps what was examined."""
    given, data = parquet(pairs, tmp_path / "given"), tmp_path / "many"
    building = data / ".mine.preparing"
    workers = killed(command(given, data, PROCESSES), lambda: [*building.glob("parts/*.npz")])
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    examined = {path: path.stat().st_mtime_ns for path in building.glob("parts/*.npz")}
    assert not (building / "corpus" / "corpus.json").exists()
    killed(command(given, data, PROCESSES), lambda: [*building.glob("mine/1.0.0")])
    assert examined == {path: path.stat().st_mtime_ns for path in examined}
    assert not (data / "mine").exists()
    done = run(given, data, ONE)
    assert done.returncode == 0, done.stderr
    make(given, convert=True)
    assert files(data / "mine") == files(tmp_path / "data" / "mine")
    assert {path.name for path in data.iterdir()} == {".mine.lock", "mine"}


REFUSED = {
    "--runner=DirectRunner": "'--runner=DirectRunner' is no NAME=VALUE",
    "runner=NoSuchRunner": "Unexpected pipeline runner: NoSuchRunner",
    "runner=DirectRunner,direct_num_workers=many": "invalid int value: 'many'",
}
ONE_AFTER_THE_OTHER = """
import sys
from aligngap.cli import main
given = ["prepare", *sys.argv[1:4], "--convert"]
print([main([*given, f"--beam_pipeline_options={options}"]) for options in sys.argv[4:]])
"""


def test_options_that_beam_cannot_read(pairs, tmp_path):
    given = [f"--source={table(pairs[:3], tmp_path / 'given')}", "--name=mine"]
    given += [f"--data_dir={tmp_path / 'many'}"]
    program = [str(THERE), "-c", ONE_AFTER_THE_OTHER, *given, *REFUSED]
    done = subprocess.run(program, capture_output=True, text=True, env=environment())
    assert done.stdout == "[2, 2, 2]\n", done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("aligngap: ")]
    for line, told in zip(lines, REFUSED.values(), strict=True):
        assert told in line
    assert not (tmp_path / "many").exists()


def test_a_runner_that_is_not_there(pairs, tmp_path):
    nowhere = "runner=PortableRunner,job_endpoint=127.0.0.1:9,job_server_timeout=1"
    done = run(table(pairs[:3], tmp_path / "given"), tmp_path / "many", nowhere)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("aligngap: Beam stopped while examining: ")
    assert "Traceback" not in done.stderr


def test_what_beam_is_not_for(pairs, tmp_path, capsys):
    given = [f"--source={table(pairs[:3], tmp_path / 'given')}", "--name=mine"]
    given += [f"--data_dir={tmp_path / 'data'}", "--beam_pipeline_options=runner=DirectRunner"]
    assert main(["prepare", *given]) == 2
    assert "they go with --convert" in capsys.readouterr().err
    assert main(["prepare", *given, "--convert"]) == 1
    assert "pip install 'aligngap[beam]'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.fixture
def store(tmp_path):
    """An S3 store, and the environment of a client."""
    if not store_server.PYTHON.exists():
        pytest.skip("no .venv-s3; launch/test.sh makes it")
    started = store_server.Store(tmp_path / "log")
    (packages,) = (ROOT / ".venv-s3").glob("lib/*/site-packages")
    proxy = store_server.Proxy(started.port)
    yield started, store_server.environment(proxy) | {"PYTHONPATH": f"{ROOT}:{packages}"}
    proxy.end()
    started.end()


FETCH = """
import sys
from etils import epath
there, here = map(epath.Path, sys.argv[1:])
assert [path.name for path in there.iterdir()] == ["mine"]
(here / "mine").mkdir(parents=True)
for file in (there / "mine").iterdir():
    file.copy(here / "mine" / file.name)
"""


@pytest.mark.parametrize("write", [damaged, missing])
def test_shards_and_corpus_in_a_store(write, store, pairs, make, tmp_path):
    """Nothing but the store is shared; the copy of it is what one machine makes of local files."""
    server, own = store
    path = write(pairs, tmp_path / "given")
    there = server.upload(tmp_path / "given", "given")
    given = f"{there}/{path.name}"
    for _ in range(2):  # Then it is there.
        arguments = command(given, Path("UNUSED"), ONE, f"--data_dir={there}/data")
        done = subprocess.run(arguments, capture_output=True, text=True, env=own)
        assert done.returncode == 0, done.stderr
        assert f"{there}/data/mine holds it" in done.stdout
    make(path, convert=True)
    subprocess.run([THERE, "-c", FETCH, f"{there}/data", tmp_path / "fetched"], env=own, check=True)
    assert records(tmp_path / "fetched" / "mine") == records(tmp_path / "data" / "mine")
    assert reasons(tmp_path / "fetched" / "mine") == reasons(tmp_path / "data" / "mine")
    ours, copied = files(tmp_path / "data" / "mine"), files(tmp_path / "fetched" / "mine")
    named = {"corpus.json", "left_out.tsv"}  # Their shards have addresses.
    assert {name for name in ours if ours[name] != copied.get(name)} <= named
