"""A step in torch as its users write it: autocast, fused AdamW, the loss in plain torch.

In its favour: pixels are normalised floats on the device before the clock starts, and no loss is
read while steps run. Compiled is all that leads from the batch to the loss, by torch.compile.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from aligngap.benchmarks.peers.step_job import StepJob

Encode = Callable[[Any, Any], tuple[Any, Any]]
WARM = 3  # Steps, of which the first compiles.


def trainer(
    job: StepJob, model: Any, encode: Encode, version: str
) -> tuple[Callable[[int], None], dict[str, Any]]:
    """What `serve` takes: `encode`(pixels [B, 3, R, R], ids [B, L]) → L2-normalised [B, D] each."""
    torch.set_num_threads(job.threads)
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs, as JAX multiplies there.
    model = model.to(job.device).train()
    batch, optimiser = _batch(job), _optimiser(job, model)

    def loss_of(pixels: Any, ids: Any, semantics: Any) -> Any:
        image, text = encode(pixels, ids)
        return loss(job, image, text, model.logit_scale.exp(), semantics)

    forward = torch.compile(loss_of) if job.compiled else loss_of
    half = torch.autocast(job.device, torch.bfloat16, enabled=job.dtype == "bfloat16")

    def step() -> Any:
        optimiser.zero_grad(set_to_none=True)
        with half:
            value = forward(*batch)
        value.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(job.scale_max))
        return value

    def steps(count: int) -> None:
        for _ in range(count):
            step()
        if job.device == "cuda":
            torch.cuda.synchronize()

    first = float(step().detach())
    steps(WARM - 1)
    # A tied parameter counts once.
    size = sum(parameter.numel() for parameter in model.parameters())
    return steps, {"loss": first, "parameters": size, "version": f"{version}, {torch.__version__}"}


def loss(job: StepJob, image: Any, text: Any, scale: Any, semantics: Any) -> Any:
    """CLIP's, and IMSep of each separated modality: logits s·[V·Vᵀ ⊙ (1 − E·Eᵀ) + diag(v·t)]
    (Eslami & de Melo 2025), as their authors write them."""
    right = torch.arange(len(image), device=image.device)
    between = scale * image @ text.T
    smooth = job.label_smoothing
    rows = functional.cross_entropy(between, right, label_smoothing=smooth)
    columns = functional.cross_entropy(between.T, right, label_smoothing=smooth)
    total = job.contrastive_weight * (rows + columns) / 2
    if not job.separation_weight:
        return total
    paired = torch.diag((image * text).sum(-1))
    unlike = 1 - (semantics @ semantics.T if job.rescaled else torch.eye(len(image)).to(image))
    for own in [{"image": image, "text": text}[name] for name in job.separated]:
        logits = scale * ((own @ own.T) * unlike + paired)
        total = total + job.separation_weight * functional.cross_entropy(logits, right)
    return total


def _batch(job: StepJob) -> tuple[Any, Any, Any]:
    """(pixels, ids, semantics or None) on the device."""
    with np.load(Path(job.folder) / "batch.npz") as found:
        arrays = {name: torch.from_numpy(found[name]).to(job.device) for name in found.files}
    dtype = getattr(torch, job.dtype)
    mean, std = (torch.tensor(x, device=job.device) for x in (job.mean, job.std))
    parts = [((part / 255 - mean) / std).to(dtype) for part in arrays["image"].split(256)]
    pixels = torch.cat(parts).permute(0, 3, 1, 2).contiguous()
    return pixels, arrays["text"].long(), arrays.get("semantics")


def _optimiser(job: StepJob, model: Any) -> Any:
    """No decay of vectors and the scale, as CLIP's family has it."""
    every = list(model.parameters())
    groups = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": job.weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=job.learning_rate, betas=job.betas, eps=job.eps, fused=True)
