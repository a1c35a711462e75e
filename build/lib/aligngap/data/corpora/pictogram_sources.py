"""The drawings: twelve icon sets as npm packages, and which of their icons shows which concept."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligngap.data import fetch
from aligngap.data.corpora.pictogram_concepts import Concept, bare, fold

PIXELS = 64  # height and width of the rendered images


@dataclass(frozen=True)
class DrawingSet:
    """One package of SVG drawings. `family`: the hand that drew it, whose sets are held out
    together; `unusable`: icons that show something else than the emoji of their name.
    """

    name: str
    family: str
    version: str
    licence: str
    sha256: str
    unusable: tuple[str, ...] = ()

    @property
    def pin(self) -> fetch.NpmPin:
        return fetch.NpmPin(f"@iconify-json/{self.name}", self.version, self.sha256)


@dataclass(frozen=True)
class Drawing:
    """One SVG, sized PIXELS × PIXELS, of one concept in one set."""

    concept: Concept
    drawing_set: DrawingSet
    svg: str


DRAWING_SETS = (
    DrawingSet(
        "emojione",
        "emojione",
        "1.2.3",
        "CC-BY-4.0",
        "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
    ),
    DrawingSet(
        "emojione-monotone",
        "emojione",
        "1.2.1",
        "CC-BY-4.0",
        "40b90004bafb406b59266155ef9b7e1dd67bf2947fc8db8d07388776f4d0d04e",
    ),
    DrawingSet(
        "emojione-v1",
        "emojione",
        "1.2.3",
        "CC-BY-SA-4.0",
        "6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3",
    ),
    DrawingSet(
        "fluent-emoji",
        "fluent",
        "1.2.7",
        "MIT",
        "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
    ),
    DrawingSet(
        "fluent-emoji-flat",
        "fluent",
        "1.2.6",
        "MIT",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    DrawingSet(
        "fluent-emoji-high-contrast",
        "fluent",
        "1.2.6",
        "MIT",
        "0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0",
    ),
    DrawingSet(
        "fxemoji",
        "fxemoji",
        "1.2.2",
        "Apache-2.0",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        # tramcar lost its colours; the whole animals have the names of their faces.
        unusable=(
            *("cat", "dog", "mouse", "pig", "tiger", "whale"),
            *("down", "pout", "tramcar", "wave"),
        ),
    ),
    DrawingSet(
        "noto",
        "noto",
        "1.2.9",
        "Apache-2.0",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    DrawingSet(
        "noto-v1",
        "noto",
        "1.2.5",
        "Apache-2.0",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
    ),
    DrawingSet(
        "openmoji",
        "openmoji",
        "1.2.29",
        "CC-BY-SA-4.0",
        "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
    ),
    DrawingSet(
        "streamline-emojis",
        "streamline",
        "1.2.4",
        "CC-BY-4.0",
        "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        unusable=("turkey",),  # the country's flag
    ),
    DrawingSet(
        "twemoji",
        "twemoji",
        "1.2.5",
        "CC-BY-4.0",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
)

# How an icon's name may differ from the emoji's, tried in this order over the whole set.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: re.sub(r"^flag-for-(flag-)?", "flag-", name),
    lambda name: name.removesuffix("-1"),  # streamline's first of several skin tones
    lambda name: name.removeprefix("person-"),  # fluent's "person-elf" is the emoji "elf"
)


def drawings(
    sets: Sequence[DrawingSet], concepts: Sequence[Concept], tarballs: Mapping[str, Path]
) -> Iterator[Drawing]:
    """At most one drawing a set and concept, ordered by set and then as `concepts` are."""
    by_alias = _unambiguous(concepts)
    by_code = {bare(concept.id): concept.id for concept in concepts}
    for drawing_set in sets:
        icons = _Icons(drawing_set, tarballs[drawing_set.pin.name])
        named = _match(icons, by_alias, by_code)
        for concept in concepts:
            if concept.id in named:
                yield Drawing(concept, drawing_set, icons.svg(named[concept.id]))


def _unambiguous(concepts: Iterable[Concept]) -> dict[str, str]:
    """Folded name → concept id, where only one concept bears it, or only one has it as label."""
    bearers: defaultdict[str, set[str]] = defaultdict(set)
    for concept in concepts:
        for alias in concept.aliases:
            bearers[alias].add(concept.id)
    labels = {fold(concept.label): concept.id for concept in concepts}
    return {alias: next(iter(ids)) for alias, ids in bearers.items() if len(ids) == 1} | labels


def _match(
    icons: "_Icons", by_alias: Mapping[str, str], by_code: Mapping[str, str]
) -> dict[str, str]:
    """Concept id → icon name: by code point where the set tells it, else by name.

    An icon shows one concept: iconify's aliases of one drawing would caption it with several.
    """
    coded = [(by_code.get(bare(code)), name) for code, name in sorted(icons.codes.items())]
    spelt = [
        (by_alias.get(fold(spelling(name))), name)
        for spelling in _SPELLINGS
        for name in icons.names
    ]
    named: dict[str, str] = {}
    shown = set()
    for concept, name in [*coded, *spelt]:
        if concept and concept not in named and icons.drawing(name) not in shown:
            named[concept] = name
            shown.add(icons.drawing(name))
    return named


class _Icons:
    """One package's `icons.json` (SVG bodies, sizes, aliases) and `chars.json` (codes → names)."""

    def __init__(self, drawing_set: DrawingSet, tarball: Path) -> None:
        icons, codes = "package/icons.json", "package/chars.json"
        found = fetch.read_members(tarball, [icons, codes])
        self._all: dict[str, Any] = json.loads(found[icons])
        self._aliases: dict[str, dict[str, Any]] = self._all.get("aliases", {})
        self.codes: dict[str, str] = json.loads(found[codes])
        names = [*sorted(self._all["icons"]), *sorted(self._aliases)]
        self.names = [name for name in names if name not in drawing_set.unusable]

    def drawing(self, name: str) -> tuple[str, bool]:
        """The icon that is drawn under this name, and whether it is mirrored."""
        alias = self._aliases.get(name, {})
        return alias.get("parent", name), alias.get("hFlip", False)

    def svg(self, name: str) -> str:
        """The icon as a document of PIXELS × PIXELS; one that is not square keeps its shape."""
        drawn, mirrored = self.drawing(name)
        icon = self._all["icons"][drawn]
        width = icon.get("width", self._all["width"])
        height = icon.get("height", self._all["height"])
        body = icon["body"]
        if mirrored:  # the only transformation that the pinned sets make use of
            body = f'<g transform="matrix(-1 0 0 1 {width} 0)">{body}</g>'
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
            f' width="{PIXELS}" height="{PIXELS}" viewBox="0 0 {width} {height}">'
            f"{body}</svg>"
        )
