"""config.evaluators.probe = {"type": "probe", "final": "tests", "shots": (1, 4, 16)}

Linear probes of image embeddings by each kind of labels: lp_acc1, lp_acc5 and
lp_mean_per_class_recall, by CLIP_benchmark's names; with `shots` few-shot ones too.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aligngap import progress
from aligngap.errors import UsageError
from aligngap.evaluation.evaluator import Found
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Subject
from aligngap.evaluation.supervised import Supervised
from aligngap.intervals import Interval
from aligngap.tasks import probe
from aligngap.tasks.logistic_regression import Classifier

PROTOCOLS = ("l2", "adamw")


class Probe(Supervised):
    """A name is "KIND/lp_acc1", and "KIND/few_shot_4/lp_acc1" of 4 training images a class."""

    OPTIONS: ClassVar = {
        **Supervised.OPTIONS,
        "protocol": "l2",  # L2 chosen on validation (Radford et al. 2021) | adamw: AlignCLIP's.
        "shots": (),  # Training images a class; λ is chosen on all of validation.
        "draws": 5,  # Of them, a seed each.
    }
    PRINTED = ("*/lp_acc1",)
    TASK = "linear_probe"

    def __init__(self, model: Subject, entry: ConfigDict) -> None:
        if entry.protocol not in PROTOCOLS:
            raise UsageError(f"probe: protocol={entry.protocol!r} is one of {', '.join(PROTOCOLS)}")
        if min(entry.shots, default=1) < 1 or entry.draws < 1:
            raise UsageError(f"probe: shots={entry.shots} and draws={entry.draws} are at least 1")
        super().__init__(model, entry)

    def __call__(self, params: Any) -> Iterator[tuple[str, Found]]:
        for kind in self.kinds:
            test = self.images(params, "test", kind)
            found = probe.scores(self._classifier(params, kind), test, self.data.image_group)
            yield from ((f"{kind}/{name}", scores) for name, scores in found.items())
            for shots in self.entry.shots:
                for name, value in self._few_shot(params, kind, shots).items():
                    whole = value if self.model.intervals else value.value
                    yield f"{kind}/few_shot_{shots}/{name}", whole

    def _classifier(self, params: Any, kind: str) -> Classifier:
        def make() -> Classifier:
            train = self.images(params, "train", kind)
            progress.say(f"Probing {kind} on {len(train.labels)} images")
            if self.entry.protocol == "adamw":
                return probe.fit_by_adamw(train, SEED)
            return probe.choose(train, self.images(params, "validation", kind))

        key = ("probe", self.entry.protocol, kind, *self.made_of)
        return self.model.made(params, key, make)

    def _few_shot(self, params: Any, kind: str, shots: int) -> dict[str, Interval]:
        train, validation = (self.images(params, p, kind) for p in ("train", "validation"))
        test, seeds = self.images(params, "test", kind), range(self.entry.draws)
        return probe.few_shot(train, validation, test, shots, seeds)
