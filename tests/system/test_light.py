"""The wheel beside nothing but what it requires: verbs on embeddings in files work, others say what
to install."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from aligngap import weights
from aligngap.cli import LIGHT, VERBS
from aligngap.laboratory import EXPERIMENTS, WITH_MODELS

ROOT = Path(__file__).parents[2]
# In one process: most of the time would go into importing JAX for each.
ONE_BY_ONE = """
import shlex, sys
from aligngap import cli
for line in sys.stdin:
    try:
        code = cli.main(shlex.split(line))
    except SystemExit as left:  # Of --help.
        code = left.code
    if code:
        sys.exit(f"exit code {code} of {line}")
"""
ON_FILES = [
    "gap --image=image.npy --text=text.npy --labels=labels.txt --output=measured",
    "gap fit --image=image.npy --text=text.npy --output=fitted",
    "gap apply --transform=fitted --image=image.npy --output=closed.npy",
    "gap search --image=image.npy --text=text.npy --query=text.npy --qrels=qrels.tsv "
    "--transform=fitted --output=searched",
    "gap close --image=image.npy --text=text.npy --output=moved",
    "gap clustering --image=image.npy --text=text.npy --labels=labels.txt --seeds=2 "
    "--output=clustered",
    "gap substitution --image=image.npy --text=text.npy --labels=labels.txt --output=substituted",
    *(f"gap {name} --help" for name in EXPERIMENTS if name not in WITH_MODELS),
    "doctor",
]
LEFT = [
    *("measured/gap.json", "measured/report.html", "fitted/transform.json", "closed.npy"),
    *("searched/search.json", "moved/close.json", "clustered/clustering.json"),
    "substituted/substitution.json",
]
TYPED = """
import jax
import jax.numpy as jnp
import aligngap
from aligngap import gap, objectives

model = aligngap.load("clip-pictograms")
image, text = model.encode_image(["cat.png"]), model.encode_text(["a cat"])
found: dict[str, float] = gap.summary(image, text)
objectives.contrastive_loss(image, text, scale=100.0)
objectives.separation_loss(image, text, scale=100.0, semantics=None)
objectives.random_alignment_loss(image, text, image)
jax.grad(objectives.sigmoid_loss)(jnp.asarray(image), jnp.asarray(text), 10.0, jnp.zeros(()))
transform = gap.GapTransform.fit(image, text)
transform.image(image).sum() + gap.centroid_distance(image, text)
gap.uniformity(image, "2")
"""
NEEDS = "needs aligngap[train]: pip install 'aligngap[train]'"
pytestmark = pytest.mark.system


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> Path:
    """`bin` of an environment with the wheel and links to what it requires without extras."""
    folder = tmp_path_factory.mktemp("light")
    source, python = folder / "source", folder / "venv" / "bin" / "python"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "aligngap", source / "aligngap", ignore=without)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    given = ("--no-deps", "--no-index")  # No network.
    pip("wheel", *given, "--no-build-isolation", f"--wheel-dir={folder}", source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    pip(f"--python={python}", "install", *given, "--no-compile", *folder.glob("*.whl"))
    (site,) = folder.glob("venv/lib/python*/site-packages")
    (own,) = metadata.distributions(name="aligngap", path=[str(site)])
    for each in required(own):
        for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(each.locate_file(top))
    return python.parent


def required(own):
    """The distributions that one requires, and those that they require."""
    found, left = {}, [(own, "")]
    while left:
        distribution, extra = left.pop()
        for wanted in map(Requirement, distribution.requires or ()):
            if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
                continue
            for each in ("", *wanted.extras):
                if (wanted.name, each) not in found:
                    found[wanted.name, each] = metadata.distribution(wanted.name)
                    left.append((found[wanted.name, each], each))
    return found.values()


@pytest.fixture
def run(light, tmp_path):
    """(program, argument ...) → as it ended, in a folder that has nothing of the checkout."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def called(program, *arguments, said=""):
        return subprocess.run(
            [light / program, *arguments],
            cwd=tmp_path,
            env={**outside, "JAX_NUM_CPU_DEVICES": "1"},
            input=said,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return called


def test_the_wheel_holds_the_models_that_come_with_it(light):
    """They are small, since an installation that cannot load them has them as well."""
    (held,) = light.parent.glob("lib/python*/site-packages/aligngap/weights")
    found = {path.relative_to(held): path for path in held.glob("*/*")}
    ours = {path.relative_to(weights.FOLDER): path for path in weights.FOLDER.glob("*/*")}
    own = {
        name: path.read_bytes() for name, path in ours.items() if "__pycache__" not in name.parts
    }
    assert {name.parts[0] for name in own} == {*weights.names()} != set()
    assert {name: path.read_bytes() for name, path in found.items()} == own
    assert sum(map(len, own.values())) < 15e6


def test_verbs_on_embeddings_in_files_work(run, tmp_path):
    random = np.random.default_rng(0)
    both, labels = random.normal(size=(60, 8)), np.arange(60) % 4
    for name, side in (("image", 1.0), ("text", -1.0)):
        rows = both + side + random.normal(size=both.shape)
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
    (tmp_path / "labels.txt").write_text("".join(f"{n}\n" for n in labels))
    lines = ["query-id\tcorpus-id\tscore", *(f"{n}\t{n}\t1" for n in range(60))]
    (tmp_path / "qrels.tsv").write_text("\n".join(lines) + "\n")
    done = run("python", "-c", ONE_BY_ONE, said="\n".join(ON_FILES))
    assert done.returncode == 0, done.stderr
    for name in LEFT:
        assert (tmp_path / name).stat().st_size > 100, name
    (note,) = [line for line in done.stdout.splitlines() if "aligngap[train]" in line]
    for module in ("flax", "orbax", "grain", "tensorflow_datasets"):
        assert f"{module}, " in note


@pytest.mark.parametrize(
    "words",
    [
        *([verb] for verb in VERBS if verb not in LIGHT),
        *(["gap", name] for name in WITH_MODELS),
        ["doctor", "--workdir"],
    ],
    ids=" ".join,
)
def test_what_needs_more_says_what_to_install(run, words):
    done = run("aligngap", *words[:-1], f"{words[-1]}{'=run' * (words[0] == 'doctor')}")
    assert done.returncode == 1
    assert done.stderr == f"aligngap: aligngap {' '.join(words)} {NEEDS}\n"


def test_so_does_the_front_door(run):
    done = run("python", "-c", "import aligngap; aligngap.load('run')")
    assert done.stderr.endswith(
        "aligngap.load needs aligngap[train]: pip install 'aligngap[train]'\n"
    )


def test_a_program_that_uses_it_is_checked_by_its_types(light, tmp_path):
    """The last line is wrong, and is the only one of which mypy says so."""
    (tmp_path / "program.py").write_text(TYPED)
    checker = (sys.executable, "-m", "mypy", "--strict")
    done = subprocess.run(
        [*checker, f"--python-executable={light / 'python'}", "program.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    *found, count = done.stdout.splitlines()
    assert count.startswith("Found 1 error in 1 file"), done.stdout + done.stderr
    (line,) = found
    assert line.startswith(f'program.py:{TYPED.count(chr(10))}: error: Argument 2 to "uniformity')
