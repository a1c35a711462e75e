"""What a program that trains beside `aligngap bench step` is asked for, and how it is measured."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aligngap.benchmarks.peers.asked import Asked


@dataclass(frozen=True)
class StepJob(Asked):
    """A model in the program's own format with batch.npz, AlignCLIP's loss or CLIP's, and AdamW."""

    folder: str  # batch.npz: image uint8 [B, R, R, 3], text int32 [B, L], semantics [B, S].
    device: str  # cpu | cuda
    dtype: str  # float32 | bfloat16: torch's autocast, parameters in float32.
    compiled: bool  # By torch.compile.
    tied: str  # What the two encoders share: none | transformer | transformer+projection.
    threads: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    contrastive_weight: float  # Of the mean of the two cross-entropies.
    separation_weight: float  # Of that of each modality that is separated.
    separated: tuple[str, ...]
    rescaled: bool  # By what captions mean.
    label_smoothing: float
    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    scale_max: float


def serve(make: Callable[[], tuple[Callable[[int], None], dict[str, Any]]]) -> None:
    """`make` → (steps(count), which returns when they are done; what is to be said of them). Says
    that once, then for each number of steps that it is asked for what one took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever libraries print is no answer.
    steps, about = make()
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        count = int(line)
        start = time.perf_counter()
        steps(count)
        print(
            json.dumps({"seconds": (time.perf_counter() - start) / count}), file=answers, flush=True
        )
