"""AdamW as CLIP's family uses it, Lion or Adafactor, and the schedule."""

import difflib
import re
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from aligngap.errors import UsageError
from aligngap.models.parameters import path_name
from aligngap.models.resnet import STATISTICS
from aligngap.training import rounding

# Of Adafactor (Shazeer & Stern 2018, algorithms 4 and 5): β₂ₜ = 1 − t^-DECAY_POWER, and the largest
# root mean square of an update. An array is factored where its two longest axes have this length:
# the width of heads does, the number of layers that are stacked does not.
DECAY_POWER, LARGEST_UPDATE, FACTORED = 0.8, 1.0, 64
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


def _no_statistics(params: Any) -> Any:
    """False for the statistics of a ResNet's norms, which nothing is to change."""
    return jax.tree.map_with_path(
        lambda path, _: path_name(path).rpartition("/")[2] not in STATISTICS, params
    )


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
    """The config's optimiser, after clipping by global norm where it asks for that; locked
    parameters have neither an update nor an optimiser state."""
    learning = _learning(config)
    if not _locks(config):
        return learning

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda f: "learns" if f else "locked", lr_factors(config, params))

    return optax.partition({"learns": learning, "locked": optax.set_to_zero()}, labels)


def _locks(config: ConfigDict) -> bool:
    return any(factor == 0 for _, factor in config.optimizer.lr_factors)


def _learning(config: ConfigDict) -> optax.GradientTransformation:
    optimizer = config.optimizer
    clip = optax.clip_by_global_norm(optimizer.clip_norm) if optimizer.clip_norm else None
    mask = decay_mask if optimizer.decay == "matrices" else None
    if mask is None and config.model.image.stages:
        mask = _no_statistics
    descent = optax.chain(
        DIRECTIONS[optimizer.name](config),
        optax.add_decayed_weights(optimizer.weight_decay, mask),
        optax.scale_by_learning_rate(schedule(config)),
    )
    factors = _scale_by_factors(config) if optimizer.lr_factors else None
    used = [part for part in (clip, descent, factors) if part is not None]
    return optax.chain(*used) if len(used) > 1 else descent


def _adamw(config: ConfigDict) -> optax.GradientTransformation:
    """Loshchilov & Hutter 2019."""
    b1, b2, eps = (config.optimizer[name] for name in ("b1", "b2", "eps"))
    return _kept(optax.scale_by_adam(b1, b2, eps), config)


def _lion(config: ConfigDict) -> optax.GradientTransformation:
    """Chen et al. 2023, algorithm 2: sign(β₁m + (1 − β₁)g), then m ← β₂m + (1 − β₂)g."""
    return _kept(optax.scale_by_lion(config.optimizer.b1, config.optimizer.b2), config)


def _adafactor(config: ConfigDict) -> optax.GradientTransformation:
    """Shazeer & Stern 2018, algorithms 4 and 5, with a momentum and without the steps relative to
    a parameter's size (as Zhai et al. 2022, Scaling Vision Transformers): peak_lr and weight_decay
    mean what they mean to AdamW. Layers that are stacked are clipped as one."""
    momentum = optax.ema(config.optimizer.b1, debias=False) if config.optimizer.b1 else None
    parts = [
        optax.scale_by_factored_rms(decay_rate=DECAY_POWER, min_dim_size_to_factor=FACTORED),
        optax.clip_by_block_rms(LARGEST_UPDATE),
        *([_kept(momentum, config)] if momentum else []),
    ]
    return optax.chain(*parts)


DIRECTIONS = {"adamw": _adamw, "lion": _lion, "adafactor": _adafactor}


def _kept(moments: optax.GradientTransformation, config: ConfigDict) -> Any:
    """In the config's dtype."""
    if config.optimizer.moments == "float32":
        return moments
    return rounding.in_bfloat16(moments, config.seed)


def _scale_by_factors(config: ConfigDict) -> optax.GradientTransformation:
    def scaled(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda u, f: u * f, updates, lr_factors(config, params))

    return optax.stateless(scaled)
