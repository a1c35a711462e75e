"""What a newcomer does with images and captions of their own, in whole programs."""

import json
import re
import shlex
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from damaged import broken, readable
from forms import FORMS, add, drawings, img2dataset, jpegs, shards
from programs import ROOT, Program
from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]
NEWCOMERS = ("table", "shards", "parquet", "coco", "sidecars")
SMALLER = {  # Than quickstart's, for the time it takes.
    "steps": 4, "batch_size": 64, "optimizer.warmup_steps": 1, "log.every_steps": 1,
    "model.embed_dim": 16,
    "model.image.width": 32, "model.image.layers": 1,
    "model.text.width": 32, "model.text.layers": 1, "model.text.vocab_size": 600,
}  # fmt: skip


@pytest.fixture
def newcomer(pictograms_dir, tmp_path):
    """A program whose data folder has nothing in it but what was once fetched."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "downloads").symlink_to(pictograms_dir / "downloads")
    return Program(tmp_path / "data")


def done(program, *arguments):
    """What a command printed; it succeeded."""
    found = program.run(*arguments)
    assert found.returncode == 0, found.stderr
    return found


def train(program, corpus, workdir, preset="clip", **fields):
    """The quickstart's config, with `data.corpus` and smaller sizes."""
    given = {**SMALLER, "data.data_dir": program.data_dir, "data.corpus": corpus, **fields}
    flags = [f"--config.{name}={value}" for name, value in given.items()]
    config = f"--config={ROOT / 'configs' / 'quickstart.py'}:{preset}"
    return program.run("train", config, f"--workdir={workdir}", *flags)


def from_files_to_page(program, form, pairs, folder):
    """The four commands; (what `prepare` printed, the run's metrics, evaluation, page)."""
    write, flags = FORMS[form]
    source, run = write(pairs, folder / form), folder / "runs" / form
    where = f"--data_dir={program.data_dir}"
    prepared = done(program, "prepare", f"--source={source}", f"--name={form}", *flags, where)
    trained = train(program, form, run)
    assert trained.returncode == 0, trained.stderr
    done(program, "evaluate", f"--workdir={run}")
    page = run / "report.html"
    done(program, "report", f"--workdir={run}", f"--output={page}")
    evaluated = json.loads((run / "evaluation.json").read_text())["splits"]
    return prepared.stdout, metrics(run), evaluated, page.read_text("utf-8")


@pytest.mark.timeout(1800)  # Twenty programs: a minute on two idle cores, longer on busy ones.
def test_a_thousand_pairs_in_five_forms_from_files_to_a_page(newcomer, pictograms_dir, tmp_path):
    """One command each. Where the order is the same, so is every number that comes of it."""
    pairs = drawings(pictograms_dir, 1000)
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(from_files_to_page, newcomer, form, pairs, tmp_path) for form in NEWCOMERS
        ]
        found = dict(zip(NEWCOMERS, [each.result() for each in asked], strict=True))
    counts = {tuple(re.findall(r"[\d,]+ (?:images|captions)", said)) for said, *_ in found.values()}
    assert len(counts) == 1
    numbers = [int(text.split()[0].replace(",", "")) for text in counts.pop()]
    assert sum(numbers[::2]) == 1000
    assert sum(numbers[1::2]) == sum(len(pair.captions) for pair in pairs)
    for form, (_, run, evaluated, page) in found.items():
        assert [line["step"] for line in run if "train/loss" in line] == [1, 2, 3, 4]
        assert {line["step"] for line in run if "validation/gap/centroid_distance" in line} >= {4}
        assert not any("data/replaced" in line for line in run)
        assert evaluated.keys() == {"test"}
        assert evaluated["test"]["num_images"] == numbers[4]
        assert f"Held-out images of {form}" in page
        assert (newcomer.data_dir / form / "report.html").exists()

    def told(form):
        losses = [line["train/loss"] for line in found[form][1] if "train/loss" in line]
        return losses, found[form][2]["test"]["gap"], found[form][2]["test"]["retrieval"]

    assert told("table") == told("shards") == told("coco") == told("sidecars")
    # Parquet is read in blocks, so that the same pairs come in another order.
    assert told("parquet")[0] != told("table")[0]
    assert np.isfinite(told("parquet")[0]).all()


def test_shards_of_img2dataset_by_the_recipe_for_cc12m(newcomer, pictograms_dir, tmp_path):
    """What is missing on the way is told in lines that say the command."""
    folder = img2dataset(jpegs(drawings(pictograms_dir, 150)), tmp_path / "cc12m")
    where = f"--data_dir={newcomer.data_dir}"
    given = (f"--source={folder}/{{00000..00001}}.tar", "--name=cc12m", "--check=header", where)
    said = done(newcomer, "prepare", *given, "--test_share=0.0001", "--tokenizer=clip").stdout
    assert "no image fell to test: delete" in said
    assert f"--config.data.corpus=cc12m --config.data.data_dir={newcomer.data_dir}" in said
    config = f"--config={ROOT / 'configs' / 'alignclip_vit_b16_cc12m.py'}"
    run, sizes = tmp_path / "run", {**SMALLER, "model.image.size": 32, "evaluation.batch_size": 32}
    sizes |= {f"model.{tower}.heads": 2 for tower in ("image", "text")} | {"model.text.layers": 1}
    del sizes["model.text.vocab_size"]
    flags = [f"--config.{name}={value}" for name, value in sizes.items()]
    training = ["train", config, f"--config.data.data_dir={newcomer.data_dir}", *flags]
    refused = newcomer.run(*training, f"--workdir={run}")
    assert refused.returncode == 2, refused.stderr
    (line,) = refused.stderr.strip().splitlines()
    assert "re-scales by semantics, which cc12m does not have" in line
    assert not run.exists()
    command = shlex.split(re.search("`aligngap (.*?)`", line)[1])
    assert command[0] == "prepare"
    done(newcomer, *command)
    assert "FLOP a step" in done(newcomer, *training, "--dry_run").stdout
    done(newcomer, *training, f"--workdir={run}")
    losses = [line for line in metrics(run) if "train/loss" in line]
    assert len(losses) == 4
    assert all(line["train/separation_image"] > 0 for line in losses)
    nothing = newcomer.run("evaluate", f"--workdir={run}")
    assert nothing.returncode == 2
    assert "cc12m has no split for test" in nothing.stderr
    assert "--test_share" in nothing.stderr


def test_damage_that_only_training_meets(newcomer, pictograms_dir, tmp_path):
    """Prepared by headers alone: what is held out is decoded all the same, the rest is replaced
    and counted, whoever reads."""
    pairs = drawings(pictograms_dir, 370)
    bad, good = broken(pairs[0].image), readable(pairs[0].image)
    seen_later = ("cut.jpg", "cut.png", "cut.gif")
    folder = tmp_path / "tars"
    whole = 256 - len(seen_later)
    shards(pairs[: whole - len(good)], folder)
    with tarfile.open(folder / "00002.tar", "w") as archive:
        odd = [*good.items(), *((name, content) for name, (content, _) in bad.items())]
        for number, (name, content) in enumerate(odd):
            add(archive, f"{number}.{name.partition('.')[2]}", content)
            add(archive, f"{number}.txt", b"a picture")
    held_out = {}
    for role, part in (("validation", pairs[300:330]), ("test", pairs[330:360])):
        held_out[role] = folder / f"{role}.tar"
        with tarfile.open(held_out[role], "w") as archive:
            for pair in part:
                add(archive, f"{pair.name}.png", pair.image)
                add(archive, f"{pair.name}.txt", pair.captions[0].encode())
            add(archive, "cut.jpg", bad["cut.jpg"][0])
            add(archive, "cut.txt", b"cut off")
    flags = [f"--{role}={path}" for role, path in held_out.items()]
    where = f"--data_dir={newcomer.data_dir}"
    given = (f"--source={folder / '0000?.tar'}", "--name=damaged", "--check=header", *flags, where)
    said = done(newcomer, "prepare", *given).stdout
    about = json.loads((newcomer.data_dir / "damaged" / "corpus.json").read_text())
    records = {role: split["records"] for role, split in about["splits"].items()}
    assert records == {"train": 256, "validation": 30, "test": 30}
    assert sum(about["left_out"].values()) == len(bad) - len(seen_later) + 2
    assert "image cannot be decoded" in said
    runs = {}
    for workers in (0, 2):
        run = tmp_path / f"run{workers}"
        trained = train(newcomer, "damaged", run, **{"data.workers": workers})
        assert trained.returncode == 0, trained.stderr
        assert trained.stderr.count("takes its place") == 1
        runs[workers] = [line for line in metrics(run) if "train/loss" in line]
    # 4 steps of 64 are one epoch: each of them once.
    assert runs[0][-1]["data/replaced"] == len(seen_later)
    for field in ("train/loss", "data/replaced"):
        assert [x.get(field) for x in runs[0]] == [x.get(field) for x in runs[2]]
    done(newcomer, "evaluate", f"--workdir={tmp_path / 'run0'}")
