"""What pages name is there: links, files, verbs and their flags, keys of the config; and the code
of the losses runs. (That of docs/vector_stores.md: tests/gap/stores.)"""

import argparse
import fnmatch
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import cli, config
from aligngap.objectives import __all__ as losses

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(path for folder in ("docs", "configs") for path in (ROOT / folder).rglob("*.md")),
]
KEYS = config.keys(config.default())
# Parts of it, which pages name as well.
PARTS = {key[: dot.start()] for key in KEYS for dot in re.finditer(r"\.", key)}
KEY = re.compile(rf"((?:{'|'.join(PARTS)})\.[\w.]+)(?==|$)")
FILE = re.compile(r"\.(py|json|safetensors)$")  # Such as config.json, which is no key.
PATH = re.compile(r"(?<![\w/.-])(?:aligngap|configs|docs|launch|tests)/[\w/.]+\w")
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code_of(page: Path) -> list[str]:
    """Its commands and other code: lines of blocks, joined where they go on, and spans."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M))
    return [*"\n".join(blocks).splitlines(), *spans]


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def room_and_flags(verb: str, name: str) -> tuple[object, set[str]]:
    """The room of `aligngap VERB [NAME]`, and its flags."""
    room, parser = cli._room(verb), argparse.ArgumentParser()
    room = room.named(name) if name in getattr(room, "NAMED", {}) else room
    room.add_flags(parser)
    return room, {flag for action in parser._actions for flag in action.option_strings}


@page
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in headings(target), link


@page
def test_commands_have_the_flags_that_are_written(page):
    for line in code_of(page):
        for command in re.findall(r"\baligngap [a-z][^`]*", line.partition(" #")[0]):
            _, verb, name, *_ = [*command.split(), ""]
            assert verb in cli.VERBS, command
            room, flags = room_and_flags(verb, name)
            for flag in re.findall(r"(?<!\S)\[?(--[\w.]+)", command):
                overrides = flag.startswith("--config.") and getattr(room, "OVERRIDES", False)
                assert overrides or flag in flags, command


@page
def test_keys_and_files_are_there(page):
    for line in code_of(page):
        overridden = re.findall(r"--config\.([\w.]+)=", line)
        written = [key[1] for key in [KEY.match(line)] if key and not FILE.search(key[1])]
        for key in overridden + written:
            free = f"{key}.".startswith(config.FREE) or key in ("key", "KEY")
            assert free or key in KEYS or key in PARTS, line
        for path in PATH.findall(line):
            assert "NAME" in path or (ROOT / path).exists(), line


def test_the_house_has_the_rooms_that_it_names():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```\naligngap/\n(.*?)```", text, re.DOTALL)
    there = {path.name for path in ROOT.glob("[!.]*/**/*.*")}
    named = set(re.findall(r"[\w*]+(?:\.\w+)*\.(?:py|sh|js|txt|j2)\b", tree))
    assert len(named) > 200
    assert not [name for name in named if not fnmatch.filter(there, name)]


def test_the_code_of_the_losses_runs(unit_rows):
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    rows = [jnp.asarray(unit_rows(8, 4, seed), jnp.float32) for seed in range(6)]
    names = dict(zip(("image", "text", "sentences", "noise", "v", "t"), rows, strict=True))
    names |= {"scale": 10.0, "bias": -10.0, "groups": jnp.arange(8) // 2}
    exec(compile(block, "docs/losses.md", "exec"), names)
    assert np.isfinite(names["loss"]) and names["terms"].keys() > {"contrastive", "alignment"}
    assert [name for name in losses if f"objectives.{name}(" not in block] == []
