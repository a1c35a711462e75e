"""The split rule of the pictograms: by concept group and by drawing family, never by image."""

import hashlib
import re

TRAIN, VALIDATION = "train", "validation"
UNSEEN_STYLE, UNSEEN_CONCEPT, UNSEEN_BOTH = (
    "test_unseen_style",
    "test_unseen_concept",
    "test_unseen_both",
)
FLAGS = "flags"
SPLITS = (TRAIN, VALIDATION, UNSEEN_STYLE, UNSEEN_CONCEPT, UNSEEN_BOTH, FLAGS)

HELD_OUT_FAMILY = "openmoji"
FLAG_GROUP = "flags"  # emojibase's group; flags are names of countries, so a set of their own
TRAIN_SHARE, VALIDATION_SHARE = 0.7, 0.1  # of the concept groups; the rest is for testing

_PERSONS = {"man", "woman", "men", "women", "person", "people", "boy", "girl", "child"}
_SIZES = {"small", "medium-small", "medium", "large"}
_HOURS = "one two three four five six seven eight nine ten eleven twelve".replace(" ", "|")
# Label → group, for depictions of one thing that the rules of `concept_group` do not unite.
_KIN = {
    "older person": "old",
    "merman": "merperson",
    "mermaid": "merperson",
    "prince": "with crown",
    "princess": "with crown",
    "Mrs. Claus": "Santa Claus",
    "Mx Claus": "Santa Claus",
    "breast-feeding": "feeding baby",
    "sun with face": "sun",
    "busts in silhouette": "bust in silhouette",
}
# Those with two emoji: the thing, and "... face".
_FACED = {"cat", "cow", "dog", "dragon", "horse", "monkey", "mouse", "pig", "rabbit", "tiger"} | {
    f"{phase} moon" for phase in ("full", "new", "first quarter", "last quarter")
}


def concept_group(label: str) -> str:
    """The unit that is held out as a whole: labels that differ only by who is shown, their hair,
    the way they face, size, an hour, a key, or whether an animal is drawn whole or as a face.
    """
    if re.fullmatch(rf"({_HOURS})(-thirty| o'clock)", label):
        return "clock"
    if label in _KIN:
        return _KIN[label]
    if collective := re.match(r"(keycap|kiss|family|couple with heart)\b(: |$)", label):
        return collective[1]
    label = re.sub(r": (red hair|curly hair|white hair|blond hair|bald|beard)$", "", label)
    label = re.sub(r": facing right$", "", label)
    if label.removesuffix(" face") in _FACED:
        return label.removesuffix(" face")
    words = [word for word in label.split() if word not in _PERSONS | _SIZES]
    return " ".join(words).removeprefix("and ") or "person"


def split_of(concept_group: str, group: str, family: str) -> str | None:
    """The split of one image, or None: validation concepts in the held-out family are unused."""
    if group == FLAG_GROUP:
        return FLAGS
    fate, unseen_style = _fate(concept_group), family == HELD_OUT_FAMILY
    if fate == VALIDATION:
        return None if unseen_style else VALIDATION
    if fate == TRAIN:
        return UNSEEN_STYLE if unseen_style else TRAIN
    return UNSEEN_BOTH if unseen_style else UNSEEN_CONCEPT


def _fate(concept_group: str) -> str:
    """train, validation or test: a fixed draw from the group's name, whatever else there is."""
    digest = hashlib.blake2b(concept_group.encode(), digest_size=8).digest()
    draw = int.from_bytes(digest, "big") / 2**64
    if draw < TRAIN_SHARE:
        return TRAIN
    return VALIDATION if draw < TRAIN_SHARE + VALIDATION_SHARE else "test"
