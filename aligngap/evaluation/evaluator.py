"""The contract of an evaluator, and how the entries of a config become evaluators."""

import abc
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap import registry
from aligngap.data import corpora
from aligngap.errors import UsageError
from aligngap.evaluation import EVALUATORS
from aligngap.evaluation.subject import Subject
from aligngap.intervals import Interval
from aligngap.tasks.intervals import Scores

Value = float | Interval
Found = Value | Scores  # What an evaluator says; of scores an interval is made.
# Fields of every entry; an evaluator's own options are what else its entry holds.
COMMON = tuple(configs.evaluator(""))
EXAMPLE = "validation/retrieval/text_retrieval_recall@10"  # Of a value while training.


class Evaluator(abc.ABC):
    """Built with an opened model and its entry in the config, whose `split` is one to measure.

    Called with parameters it yields (name, value): a number, an Interval where there is more to
    say of it, or what each item scored, of which an interval is made and which are kept, so that
    runs are compared item by item. "group/acc1" stands below "group" in the tree of results.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {}  # Its own fields in an entry, and their defaults.
    # Of its values, those that `aligngap evaluate` prints (patterns of fnmatch); a page has all.
    PRINTED: ClassVar[tuple[str, ...]] = ("*",)
    TASK: ClassVar[str] = ""  # What LAION's CLIP_benchmark calls it; "": it has no such task.

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        self.model, self.entry = model, entry
        self.data = model.eval_set(entry.split)

    @abc.abstractmethod
    def __call__(self, params: Any) -> Iterator[tuple[str, Found]]:
        """Every value of the model with these parameters."""

    def arrays(self, params: Any) -> Mapping[str, np.ndarray]:
        """What `aligngap evaluate` keeps in embeddings.npz for other programs."""
        return {}


def find(name: str, entry: ConfigDict) -> type[Evaluator]:
    """The class of an entry; UsageError for an unknown type or option."""
    made = registry.find(entry.type, EVALUATORS, "evaluator")
    if not (isinstance(made, type) and issubclass(made, Evaluator)):
        raise UsageError(f"evaluators.{name}: {entry.type} derives from no Evaluator")
    unknown = sorted(set(entry) - set(COMMON) - set(made.OPTIONS))
    if unknown:
        options = ", ".join([*COMMON, *made.OPTIONS])
        raise UsageError(f"evaluators.{name}: unknown option {unknown[0]!r}; it has {options}")
    return made


def build(name: str, entry: ConfigDict, split: str, model: Subject) -> Evaluator:
    """The evaluator of an entry on one split."""
    made = find(name, entry)
    given = configs.evaluator(entry.type, **made.OPTIONS)
    given.update({**entry, "split": split})
    return made(model, given)


def splits(config: ConfigDict, entry: ConfigDict, wanted: str) -> tuple[str, ...]:
    """The splits that an entry's `split` or `final` means, by their names.

    Without those of a corpus on which its type makes no sense, by what it says of itself.
    """
    found = _meant(config, wanted)
    return tuple(name for name in found if entry.type not in corpora.named(config, name)[0].unfit)


def check(config: ConfigDict, *, training: bool) -> None:
    """Opens what the entries name, with `training` also for measuring meanwhile: a mistake is told
    before a run begins."""
    wanted = set()
    for name, entry in config.evaluators.items():
        find(name, entry)
        wanted.add(entry.get("final", "tests"))
        if training and entry.get("every_steps", 0):
            wanted.add(entry.get("split", "validation"))
    if training:
        _check_best(config)
    for split in {split for each in wanted for split in _meant(config, each)}:
        corpus, name = corpora.named(config, split)
        corpus.open(name)


def _check_best(config: ConfigDict) -> None:
    """UsageError where no evaluator that has a period can give `checkpoint.best`."""
    best = config.checkpoint.best
    measured = [name for name, entry in config.evaluators.items() if entry.get("every_steps", 0)]
    if best and not any(f"/{name}/" in best for name in measured):
        raise UsageError(
            f"checkpoint.best={best!r} is not measured while training: expected "
            f"SPLIT/EVALUATOR/NAME, such as {EXAMPLE}, of an evaluator whose every_steps is above "
            f"0 ({', '.join(measured) or 'there is none'})"
        )


def _meant(config: ConfigDict, wanted: str) -> tuple[str, ...]:
    """Several stand with commas between them, each split once."""
    each = (split for one in wanted.split(",") for split in _named(config, one.strip()))
    return tuple(dict.fromkeys(each))


def _named(config: ConfigDict, wanted: str) -> tuple[str, ...]:
    """ "validation" and "tests" are the corpus's roles, "" is none, else it is a split's name."""
    if wanted == "validation":
        return (corpora.validation_split(config),)
    if wanted == "tests":
        return corpora.test_splits(config)
    return (wanted,) if wanted else ()
