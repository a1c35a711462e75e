"""open_clip's ClipLoss on one device: value and gradient with respect to both embeddings.

    python -m aligngap.benchmarks.peers.loss_open_clip DEVICE DIMENSION B...

Prints {batch: seconds, or null where it has no room}; embeddings are bfloat16.
"""

import contextlib
import json
import statistics
import sys
import time

import torch
from torch.nn import functional

from aligngap.benchmarks.peers.torchvision_stubs import declare

declare()

from open_clip.loss import ClipLoss  # noqa: E402

REPEATS = 10


def seconds(device: str, dimension: int, batch: int) -> float:
    """Median of a few calls, after two that do not count."""
    rows = [torch.randn(batch, dimension, device=device) for _ in range(2)]
    given = [functional.normalize(x).to(torch.bfloat16).requires_grad_() for x in rows]
    scale, loss, times = torch.tensor(1 / 0.07, device=device), ClipLoss(), []
    for _ in range(REPEATS + 2):
        start = time.perf_counter()
        torch.autograd.grad(loss(*given, scale), given)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


if __name__ == "__main__":
    device, dimension, *batches = sys.argv[1:]
    found: dict[str, float | None] = dict.fromkeys(batches)
    for batch in batches:
        with contextlib.suppress(torch.OutOfMemoryError):
            found[batch] = seconds(device, int(dimension), int(batch))
    print(json.dumps(found))
