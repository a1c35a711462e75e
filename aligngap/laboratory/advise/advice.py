"""From what transforms scored to one sentence: which to use for which task, or none."""

import dataclasses
from collections.abc import Mapping

from aligngap.intervals import Interval
from aligngap.laboratory.advise.judge import TASKS
from aligngap.tasks.intervals import Scores
from aligngap.tasks.simultaneous import simultaneous


@dataclasses.dataclass(frozen=True)
class Advice:
    """What each task reaches untransformed, and how much each method adds: the intervals of all
    gains hold together with 95 % confidence."""

    before: Mapping[str, Interval]
    gains: Mapping[tuple[str, str], Interval]  # (method, task)
    best: Mapping[str, list[str]]  # Task → see `advise`.
    critical: float
    items: int  # That it rests on.

    @property
    def tasks(self) -> list[str]:
        """By their names."""
        return [*self.before]

    @property
    def methods(self) -> list[str]:
        """Those that were judged."""
        return [*dict.fromkeys(method for method, _ in self.gains)]

    @property
    def use(self) -> dict[str, str | None]:
        """Task → the method to use, the first of the best: the simplest; None where none gains."""
        return {task: best[0] if best else None for task, best in self.best.items()}

    def sentence(self) -> str:
        """The advice."""
        use = self.use
        chosen = [*dict.fromkeys(method for method in use.values() if method)]
        rest = [TASKS[task].title for task, method in use.items() if method is None]
        if not chosen:
            return f"Leave the embeddings alone: {self._nothing()}."
        parts = [f"{method} for {self._won(method)}" for method in chosen]
        alone = [f"leave the embeddings alone for {listed(rest)}"] if rest else []
        return f"Use {'; '.join(parts + alone)}."

    def _won(self, method: str) -> str:
        """The tasks that it is best for, with its gains."""
        tasks = [task for task, best in self.use.items() if best == method]
        return listed([f"{TASKS[t].title} ({self._gain(method, t)})" for t in tasks])

    def _nothing(self) -> str:
        """That nothing helps, and the largest of the gains that may be luck."""
        method, task = max(self.gains, key=lambda key: self.gains[key].value)
        return (
            f"on {self.items:,} items that none was fitted on, none of {len(self.methods)} methods "
            f"gains in {listed([TASKS[each].title for each in self.tasks], 'or')} beyond luck "
            f"(the largest gain: {method} for {TASKS[task].title}, {self._gain(method, task)})"
        )

    def _gain(self, method: str, task: str) -> str:
        return f"{TASKS[task].measure} {said(self.gains[method, task])}"


def advise(
    before: Mapping[str, Scores], after: Mapping[str, Mapping[str, Scores]], seed: int
) -> Advice:
    """From what items scored in each task before, and (method → task →) after.

    The best for a task: of the methods that gain beyond the interval the one that gains most, and
    those which that one does not beat beyond a paired 95 % interval; in the order of `after`.
    """
    apart = {
        (method, task): _difference(each, before[task])
        for method, scores in after.items()
        for task, each in scores.items()
    }
    gains, critical = simultaneous(apart, seed)
    reached = {task: each.interval(seed) for task, each in before.items()}
    items = len({name for each in before.values() for name in each.clusters.tolist()})
    best = {task: _best(task, gains, after, seed) for task in before}
    return Advice(reached, gains, best, critical, items)


def _best(
    task: str,
    gains: Mapping[tuple[str, str], Interval],
    after: Mapping[str, Mapping[str, Scores]],
    seed: int,
) -> list[str]:
    gaining = {m: x.value for (m, t), x in gains.items() if t == task and x.low > 0}
    if not gaining:
        return []
    first = after[max(gaining, key=lambda method: gaining[method])][task]
    beaten = (_difference(first, after[method][task]).interval(seed).low for method in gaining)
    return [method for method, low in zip(gaining, beaten, strict=True) if low <= 0]


def _difference(one: Scores, other: Scores) -> Scores:
    """How much more each item scored."""
    return Scores(one.items - other.items, one.clusters)


def said(gain: Interval) -> str:
    """+0.018 [+0.004, +0.031]."""
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def listed(parts: list[str], word: str = "and") -> str:
    """a, b and c."""
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
