"""AdamW as CLIP's family uses it, and the schedule."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict

DECAYED = ("kernel", "patch_kernel", "embedding", "positions")


def schedule(config: ConfigDict) -> optax.Schedule:
    """Linear warm-up from 0 to the peak, then cosine to 0 at the last step."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.optimizer.peak_lr,
        warmup_steps=config.optimizer.warmup_steps,
        decay_steps=config.steps,
    )


def decay_mask(params: Any) -> Any:
    """True where weight decay applies: matrices, not vectors, norms, biases or the logit scale.

    By name, not by rank: stacked over layers, a norm's vector has rank 2.
    """

    def decayed(path: tuple[Any, ...], _: Any) -> bool:
        names = [str(getattr(part, "key", "")) for part in path]
        return any(name in DECAYED for name in names)

    return jax.tree.map_with_path(decayed, params)


def make(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW with the mask above, after clipping by global norm where the config asks for it."""
    optimizer = config.optimizer
    adamw = optax.adamw(
        schedule(config),
        b1=optimizer.b1,
        b2=optimizer.b2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        mask=decay_mask,
    )
    if not optimizer.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(optimizer.clip_norm), adamw)
