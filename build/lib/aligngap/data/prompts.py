"""Prompts and class names of the standard sets, as LAION's CLIP_benchmark classifies by them.

Its wheel holds them as JSON: templates of 33 sets, class names of 17, and in Arabic, Chinese,
Italian and Japanese those of ImageNet. ImageNet's are OpenAI's 80 templates and names. Nothing of
the wheel is installed or run.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aligngap.data import fetch
from aligngap.data.corpus import Benchmark, Licence
from aligngap.errors import UsageError

WHEEL = fetch.WheelPin(
    name="clip-benchmark",
    version="1.6.2",
    sha256="6fbfd39b454a036a628b7e227b3d4050015009afe418583f21f27886c74e4998",
)
FOLDER = "clip_benchmark/datasets"
LICENCE = Licence(WHEEL.name, WHEEL.version, "MIT", f"PyPI {WHEEL.name}", "prompts, class names")
LANGUAGES = ("en", "ar", "cn", "it", "jp")
PLACE = "{c}"  # Where a template has the name of a class.
IMAGENET = "imagenet1k"
# TFDS's sets. Class names are those whose order is that of TFDS's labels.
SETS = {
    "caltech101": Benchmark("vtab/caltech101", "caltech101", "caltech101_vtab"),
    "cars196": Benchmark("cars", "cars"),
    "cifar10": Benchmark("cifar10", "cifar10"),
    "cifar100": Benchmark("cifar100", "cifar100"),
    "diabetic_retinopathy_detection": Benchmark(
        "vtab/diabetic_retinopathy", "diabetic_retinopathy", "diabetic_retinopathy"
    ),
    "dmlab": Benchmark("vtab/dmlab", "dmlab", "dmlab"),
    "dtd": Benchmark("dtd", "dtd"),
    "eurosat": Benchmark("eurosat", "eurosat", "eurosat"),
    "food101": Benchmark("food101", "food101"),
    "imagenet2012": Benchmark(IMAGENET, IMAGENET, IMAGENET),
    "imagenet_a": Benchmark("imagenet-a", IMAGENET),
    "imagenet_r": Benchmark("imagenet-r", IMAGENET),
    "imagenet_sketch": Benchmark("imagenet_sketch", IMAGENET, IMAGENET),
    "imagenet_v2": Benchmark("imagenetv2", IMAGENET, IMAGENET),
    "mnist": Benchmark("mnist", "mnist", "mnist"),
    "oxford_flowers102": Benchmark("flowers", "flowers", "flowers"),
    "oxford_iiit_pet": Benchmark("pets", "pets", "pets"),
    "patch_camelyon": Benchmark("pcam", "pcam", "pcam"),
    "resisc45": Benchmark("vtab/resisc45", "resisc45"),
    "stl10": Benchmark("stl10", "stl10"),
    "sun397": Benchmark("sun397", "sun397"),
    "svhn_cropped": Benchmark("vtab/svhn", "svhn", "svhn"),
}

Prompts = Sequence[str] | Mapping[str, Sequence[str]]  # Templates, or each class's own texts.


def templates(wanted: str, language: str, data_dir: Path) -> Prompts:
    """Of a set by CLIP_benchmark's name, of FILE.json (templates, or class → its texts), or the
    one that is given: "a drawing of a {c}." """
    if PLACE in wanted:
        return [wanted]
    if wanted.endswith(".json"):
        return _of_file(Path(wanted))
    found: list[str] = _named("prompts", wanted, language, data_dir)
    return found


def class_names(wanted: str, language: str, data_dir: Path) -> list[str]:
    """Of a set by CLIP_benchmark's name, in the order of its labels."""
    found: list[str] = _named("classes", wanted, language, data_dir)
    return found


def texts(prompts: Prompts, name: str, called: Sequence[str]) -> list[str]:
    """What a class's images are compared with: each name in each template, or its own texts, by
    its `name` or what it is `called`. UsageError for a class that has none."""
    if not isinstance(prompts, Mapping):
        return [template.replace(PLACE, text) for text in called for template in prompts]
    for key in (name, *called):
        if prompts.get(key):
            return list(prompts[key])
    raise UsageError(f"the prompts have no text for the class {name!r}")


def prepare(data_dir: Path) -> None:
    """Errors as `fetch.wheel`."""
    fetch.wheel(WHEEL, fetch.downloads(data_dir))


def member(name: str, data_dir: Path) -> bytes:
    """A file of the wheel, which is fetched where it is missing."""
    return fetch.read_member(fetch.wheel(WHEEL, fetch.downloads(data_dir)), f"{FOLDER}/{name}")


_FILES = {"prompts": "zeroshot_classification_templates", "classes": "classnames"}


def _named(what: str, wanted: str, language: str, data_dir: Path) -> Any:
    if language not in LANGUAGES:
        raise UsageError(f"language={language}: one of {', '.join(LANGUAGES)}")
    found = json.loads(member(f"{language}_{_FILES[what]}.json", data_dir))
    if wanted not in found:
        also = f", a template with {PLACE}, or FILE.json" if what == "prompts" else ""
        raise UsageError(
            f"{what}={wanted}: CLIP_benchmark has none of that name in {language!r}: one of "
            f"{', '.join(found)}{also}"
        )
    return found[wanted]


def _of_file(path: Path) -> Prompts:
    form = 'expected ["a photo of a {c}.", ...] or {"class": ["text", ...], ...}'
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"prompts={path} cannot be read ({error}): {form}") from error
    lists = list(found.values()) if isinstance(found, dict) else [found]
    listed = all(isinstance(x, list) and all(isinstance(t, str) for t in x) for x in lists)
    if not (found and listed):
        raise UsageError(f"prompts={path}: {form}")
    if isinstance(found, list) and not all(PLACE in template for template in found):
        raise UsageError(f"prompts={path}: each template needs {PLACE}, for the class's name")
    prompts: Prompts = found
    return prompts
