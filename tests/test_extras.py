"""What `pip install aligngap` leaves out, against pyproject.toml."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from aligngap import extras

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_its_modules_are_those_of_the_extra():
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["train"]
    everywhere = {canonicalize_name(r.name) for r in map(Requirement, declared) if not r.marker}
    installed_by = metadata.packages_distributions()
    found = {canonicalize_name(name) for module in extras.TRAIN for name in installed_by[module]}
    assert found == everywhere
    assert extras.missing() == []
