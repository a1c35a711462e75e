"""Pictograms that differ by one attribute, read off their labels: "man: bald", "man: red hair"."""

import re
from collections.abc import Iterator

from aligngap.data.corpus import Variant

HAIR = re.compile(r"(.*): (red hair|curly hair|white hair|blond hair|bald|beard)")
PERSON = re.compile(r"\b(man|woman|person)\b(?!')")
COLOUR = re.compile(
    r"(light blue|red|orange|yellow|green|blue|purple|brown|black|white|grey|pink) (.+)"
)
# Of several people; which of them a word would change is not said.
SEVERAL = ("couple with heart", "family", "kiss")


def variants(label: str) -> Iterator[Variant]:
    """By hair, by who is shown, and by colour; the thing is what the label says besides."""
    if found := HAIR.fullmatch(label):
        yield Variant("hair", found[1], found[2])
    if len(PERSON.findall(label)) == 1 and not label.startswith(SEVERAL):
        yield Variant("gender", PERSON.sub("*", label), PERSON.findall(label)[0])
    if found := COLOUR.fullmatch(label):
        yield Variant("colour", found[2], found[1])
