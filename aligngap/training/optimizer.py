"""AdamW as CLIP's family uses it, and the schedule."""

import difflib
import re
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.models.parameters import path_name

DECAYED = ("kernel", "patch_kernel", "embedding", "positions")


def schedule(config: ConfigDict) -> optax.Schedule:
    """Linear warm-up from 0 to the peak, then cosine to 0 at the last step, or constant."""
    peak, warmup = config.optimizer.peak_lr, config.optimizer.warmup_steps
    if config.optimizer.schedule == "constant":
        rising = optax.linear_schedule(0.0, peak, max(warmup, 1))
        return optax.join_schedules([rising, optax.constant_schedule(peak)], [warmup])
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0, peak_value=peak, warmup_steps=warmup, decay_steps=config.steps
    )


def decay_mask(params: Any) -> Any:
    """True where weight decay applies: matrices, not vectors, norms, biases or the logit scale.

    By name, not by rank: stacked over layers, a norm's vector has rank 2.
    """

    def decayed(path: tuple[Any, ...], _: Any) -> bool:
        names = [str(getattr(part, "key", "")) for part in path]
        return any(name in DECAYED for name in names)

    return jax.tree.map_with_path(decayed, params)


def lr_factors(config: ConfigDict, params: Any) -> Any:
    """The factor of each parameter's learning rate: that of the first pattern its path matches."""

    def factor(path: tuple[Any, ...], _: Any) -> float:
        name = path_name(path)
        factors = (f for pattern, f in config.optimizer.lr_factors if re.search(pattern, name))
        return next(factors, 1.0)

    return jax.tree.map_with_path(factor, params)


def locked(config: ConfigDict, params: Any) -> Any:
    """The parameters, constants where the factor is 0: a locked tower (LiT, Zhai et al. 2022) has
    no backward pass."""
    if not _locks(config):
        return params
    stop = jax.lax.stop_gradient
    return jax.tree.map(lambda p, f: p if f else stop(p), params, lr_factors(config, params))


def check(config: ConfigDict, params: Any) -> None:
    """UsageError for a pattern of `optimizer.lr_factors` or `fresh` that no parameter's path
    matches, and where nothing is left to learn."""
    names = [path_name(path) for path, _ in jax.tree.leaves_with_path(params)]
    factors = [("optimizer.lr_factors", pattern) for pattern, _ in config.optimizer.lr_factors]
    for field, pattern in [*factors, *(("fresh", pattern) for pattern in config.fresh)]:
        if not any(re.search(pattern, name) for name in names):
            nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)[0]
            raise UsageError(
                f"{field}: no parameter's path matches {pattern!r}; one is {nearest!r}"
            )
    if not any(jax.tree.leaves(lr_factors(config, params))):
        raise UsageError("optimizer.lr_factors: every parameter is locked; nothing would learn")


def make(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW, after clipping by global norm where the config asks for it; locked parameters have
    neither an update nor an optimiser state."""
    learning = _adamw(config)
    if not _locks(config):
        return learning

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda f: "learns" if f else "locked", lr_factors(config, params))

    return optax.partition({"learns": learning, "locked": optax.set_to_zero()}, labels)


def _locks(config: ConfigDict) -> bool:
    return any(factor == 0 for _, factor in config.optimizer.lr_factors)


def _adamw(config: ConfigDict) -> optax.GradientTransformation:
    optimizer = config.optimizer
    clip = optax.clip_by_global_norm(optimizer.clip_norm) if optimizer.clip_norm else None
    adamw = optax.adamw(
        schedule(config),
        b1=optimizer.b1,
        b2=optimizer.b2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        mask=decay_mask if optimizer.decay == "matrices" else None,
    )
    factors = _scale_by_factors(config) if optimizer.lr_factors else None
    used = [part for part in (clip, adamw, factors) if part is not None]
    return optax.chain(*used) if len(used) > 1 else adamw


def _scale_by_factors(config: ConfigDict) -> optax.GradientTransformation:
    def scaled(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda u, f: u * f, updates, lr_factors(config, params))

    return optax.stateless(scaled)
