"""What there is to depict: the emoji, their names, keywords and classes (emojibase, emojilib)."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligngap.data import fetch
from aligngap.data.corpora.pictogram_splits import concept_group

EMOJIBASE = fetch.NpmPin(
    "emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"
)
EMOJILIB = fetch.NpmPin(
    "emojilib", "4.0.3", "7f9a6b43cff31d18985b7d65d11faba5bd971cbcc60020cf6d09322fbaaaf303"
)
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
COMPONENTS = "component"  # emojibase's group of skin tones and hair: parts, not pictures
CAPTION_SHORTCODES = ("emojibase", "github")
# The further ones recognise icons by name, but are too slangy or dated to be captions.
SHORTCODES = (*CAPTION_SHORTCODES, "cldr", "joypixels", "iamcal", "emojibase-legacy")
_META = ("meta/groups", "meta/unicode-names")


@dataclass(frozen=True)
class Concept:
    """One emoji without skin tone. `id` is its hexcode; `names` start with its label."""

    id: str
    names: tuple[str, ...]
    keywords: tuple[str, ...]
    aliases: frozenset[str]  # every name of any source, `fold`ed: how icons are recognised
    concept_group: str
    group: str
    subgroup: str

    @property
    def label(self) -> str:
        return self.names[0]

    @property
    def captions(self) -> tuple[str, ...]:
        """Names, then keywords; all distinct whatever their case."""
        return self.names + self.keywords


def fold(name: str) -> str:
    """A name without case, accents, spaces and punctuation, as the icon sets vary in these."""
    spelt = name.lower().replace("&", "and").replace("#", "hash").replace("*", "asterisk")
    letters = unicodedata.normalize("NFKD", spelt)
    return re.sub(r"[^a-z0-9]", "", letters)


def bare(hexcode: str) -> str:
    """A hexcode in upper case without variation selectors, which the sources treat differently."""
    return hexcode.upper().replace("-FE0F", "").replace("-FE0E", "")


def read_concepts(tarballs: Mapping[str, Path]) -> list[Concept]:
    """All 1,914 emoji but components and lone letters, in the order of their hexcodes."""
    sources = _Sources(tarballs)
    entries = [entry for entry in sources.emoji if "group" in entry]
    entries = [entry for entry in entries if sources.groups[str(entry["group"])] != COMPONENTS]
    shared = _shared_names(entries, sources)
    concepts = (_concept(entry, sources, shared) for entry in entries)
    return sorted(concepts, key=lambda concept: concept.id)


class _Sources:
    """The JSON files of both packages, read once."""

    def __init__(self, tarballs: Mapping[str, Path]) -> None:
        shortcodes = {source: f"en/shortcodes/{source}" for source in SHORTCODES}
        emojibase = _json(tarballs[EMOJIBASE.name], "en/data", *_META, *shortcodes.values())
        self.emoji: list[dict[str, Any]] = emojibase["en/data"]
        self.groups: dict[str, str] = emojibase["meta/groups"]["groups"]
        self.subgroups: dict[str, str] = emojibase["meta/groups"]["subgroups"]
        self.unicode_names: dict[str, str] = emojibase["meta/unicode-names"]
        self.shortcodes: dict[str, dict[str, str | list[str]]] = {
            source: emojibase[path] for source, path in shortcodes.items()
        }
        lists = _json(tarballs[EMOJILIB.name], "dist/emoji-en-US")["dist/emoji-en-US"]
        # Its keys are the characters, with and without variation selectors.
        self._emojilib = {key.strip("\ufe0f\ufe0e"): words for key, words in lists.items()}

    def emojilib(self, entry: Mapping[str, Any]) -> list[str]:
        """The emoji's name and then its keywords; empty where emojilib lacks it."""
        found: list[str] = self._emojilib.get(entry["emoji"].strip("\ufe0f\ufe0e"), [])
        return found

    def named(self, entry: Mapping[str, Any], shortcodes: Sequence[str]) -> Iterator[str]:
        """Label, Unicode's name, emojilib's name and the names of these shortcode lists."""
        yield entry["label"]
        # A sequence of code points has only their names, with commas between: no one says that.
        unicode_name = self.unicode_names.get(entry["hexcode"], "").lower()
        yield "" if "," in unicode_name else unicode_name
        yield from self.emojilib(entry)[:1]
        for source in shortcodes:
            found = self.shortcodes[source].get(entry["hexcode"], [])
            yield from [found] if isinstance(found, str) else found


def _json(tarball: Path, *paths: str) -> dict[str, Any]:
    """Path without folder `package` and suffix → the parsed file."""
    members = {path: f"package/{path}.json" for path in paths}
    found = fetch.read_members(tarball, list(members.values()))
    return {path: json.loads(found[member]) for path, member in members.items()}


def _concept(entry: Mapping[str, Any], sources: _Sources, shared: set[str]) -> Concept:
    label = tidy(entry["label"])
    named = (tidy(name) for name in sources.named(entry, CAPTION_SHORTCODES))
    names = _distinct([label, *(name for name in named if fold(name) not in shared)])
    words = [tidy(word) for word in [*entry["tags"], *sources.emojilib(entry)[1:]]]
    keywords = _distinct([*names, *words])[len(names) :]
    every = sources.named(entry, SHORTCODES)
    return Concept(
        id=entry["hexcode"],
        names=tuple(names),
        keywords=tuple(keywords),
        aliases=frozenset(filter(None, map(fold, every))),
        concept_group=concept_group(label),
        group=sources.groups[str(entry["group"])],
        subgroup=sources.subgroups[str(entry["subgroup"])],
    )


def tidy(words: str) -> str:
    """Spaces for underscores, straight quotes: a shortcode or label as one would write it."""
    return re.sub(r"[_\s]+", " ", words.translate(_STRAIGHT)).strip()


def _distinct(captions: Iterable[str]) -> list[str]:
    """The first of each caption that `fold`s alike; emoticons such as ":D" are left out."""
    kept: dict[str, str] = {}
    for caption in captions:
        if caption[:1].isalnum():
            kept.setdefault(fold(caption) or caption, caption)
    return list(kept.values())


def _shared_names(entries: Iterable[Mapping[str, Any]], sources: _Sources) -> set[str]:
    """Names (folded) that several concept groups bear: captions of none, as they would let a
    held-out concept be known by the caption of a trained one. A label always stays.
    """
    bearers: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        group = concept_group(tidy(entry["label"]))
        for name in sources.named(entry, CAPTION_SHORTCODES):
            bearers[fold(name)].add(group)
    return {name for name, groups in bearers.items() if len(groups) > 1}
