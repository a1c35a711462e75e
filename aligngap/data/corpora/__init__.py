"""The corpora by name; anybody's own by its path, "package.module.Name"."""

import difflib
import functools
import re
from pathlib import Path

from ml_collections import ConfigDict

from aligngap import registry
from aligngap.config import data_dir
from aligngap.data import class_captions, mixture, overlap, semantics
from aligngap.data.corpora import prepared, tfds_sets
from aligngap.data.corpora.mixed import Mixture
from aligngap.data.corpus import Corpus
from aligngap.data.records import Source
from aligngap.data.sources import indexed
from aligngap.errors import UsageError

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
CORPORA = {
    "pictograms": "aligngap.data.corpora.pictograms.Pictograms",
    "stamps": "aligngap.data.corpora.stamps.Stamps",
    "openclipart": "aligngap.data.corpora.openclipart.Openclipart",
}


@functools.cache  # So that what a corpus has read of itself is read once.
def find(name: str, folder: Path) -> Corpus:
    """The corpus of that name as `folder` holds it; UsageError for an unknown one."""
    if name not in CORPORA and prepared.exists(folder, name):
        return prepared.Prepared(folder, name)
    if name not in CORPORA and tfds_sets.exists(folder, name):
        return tfds_sets.TfdsSet(folder, name)
    if name not in CORPORA and not DOTTED.fullmatch(name):
        raise UsageError(_unknown(name, folder))
    made = registry.find(name, CORPORA, "corpus")
    if not (isinstance(made, type) and issubclass(made, Corpus)):
        raise UsageError(f"corpus {name!r} is no class that derives from aligngap.data.corpus")
    return made(folder)


def check_free(name: str) -> None:
    """UsageError for a name that cannot be that of a user's corpus."""
    if name in CORPORA:
        raise UsageError(f"{name} is the name of a corpus that comes with aligngap: take another")
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        raise UsageError(f"--name={name}: expected letters, digits, _ and -, a letter first")


def known(name: str, folder: Path) -> bool:
    """Whether a name may be that of a corpus: ours, one in the folder, TFDS's, a class's path."""
    ours = name in CORPORA or bool(DOTTED.fullmatch(name))
    return ours or prepared.exists(folder, name) or tfds_sets.exists(folder, name)


def _unknown(name: str, folder: Path) -> str:
    """What there is, and what looks like it."""
    there = [path.parent.name for path in sorted(folder.glob(f"*/{indexed.ABOUT}"))]
    names = [*dict.fromkeys([*CORPORA, *there])]  # Some of ours have that file, too.
    near = ", ".join(difflib.get_close_matches(name, [*names, *tfds_sets.known()]))
    return (
        f"unknown corpus {name!r}: one of {', '.join(names)}, a set of TFDS, or a "
        f"package.module.Name (looked in {folder}){f'; near to it: {near}' if near else ''}"
    )


def of(config: ConfigDict) -> Corpus:
    """The corpus that a config names, or the mixture of several."""
    folder = data_dir(config.data.data_dir)
    if not mixture.is_mixture(config.data.corpus):
        return find(mixture.shares(config.data.corpus)[0].name, folder)
    parts = {share.name: find(share.name, folder) for share in mixture.shares(config.data.corpus)}
    return Mixture(folder, parts)


def train_split(config: ConfigDict) -> str:
    """The split to train on: `data.train_split`, else the corpus's own."""
    return config.data.train_split or _one(of(config), "train")


def validation_split(config: ConfigDict) -> str:
    """The split to choose by: `data.validation_split`, else the corpus's own."""
    return config.data.validation_split or _one(of(config), "validation")


def test_splits(config: ConfigDict) -> tuple[str, ...]:
    """Those to be looked at once: `data.test_splits`, else the corpus's own."""
    return tuple(config.data.test_splits) or of(config).named("test")


def named(config: ConfigDict, name: str) -> tuple[Corpus, str]:
    """SPLIT of the config's corpus, or CORPUS/SPLIT; UsageError where there is none."""
    other, slash, split = name.rpartition("/")
    corpus = find(other, data_dir(config.data.data_dir)) if slash else of(config)
    return corpus, corpus.split(split).name


def trained_on(config: ConfigDict) -> tuple[str, ...]:
    """The splits to train on: one, or one of each corpus of a mixture."""
    corpus = of(config)
    return corpus.named("train") if isinstance(corpus, Mixture) else (train_split(config),)


def open_train(config: ConfigDict) -> Source:
    """The records to train on, with the semantics of their captions where these were prepared; a
    mixture's as mixture.Joined. Without those that `data.leave_out` says."""
    corpus = of(config)
    if config.data.semantics and config.data.leave_out:
        raise UsageError(
            "data.semantics has a row for each record of the split, of which data.leave_out leaves "
            "some out: embed the captions (`aligngap prepare --semantics`) in its place"
        )
    if not isinstance(corpus, Mixture):
        return _open_part(config, corpus, config.data.corpus, train_split(config))
    if config.data.train_split or config.data.semantics:
        raise UsageError("data.train_split and data.semantics are of one corpus, not of a mixture")
    parts = [
        _open_part(config, part, name, _one(part, "train")) for name, part in corpus.parts.items()
    ]
    widths = {mixture.width_of(part) for part in parts}
    return mixture.Joined(parts, list(corpus.parts), len(widths) == 1 and None not in widths)


def _open_part(config: ConfigDict, corpus: Corpus, name: str, split: str) -> Source:
    source = semantics.attach(corpus.open(split), corpus.folder, split)
    others = [find(other, corpus.data_dir) for other in config.data.leave_out if other != name]
    if others:
        source = overlap.without(source, overlap.held_out(others), name)
    if kind := config.data.class_captions:
        return class_captions.of(source, corpus, kind, config.data.prompts)
    return source


def _one(corpus: Corpus, role: str) -> str:
    names = corpus.named(role)
    if not names:
        raise UsageError(f"{corpus.name} has no split for {role}: {corpus.advice(role)}")
    return names[0]
