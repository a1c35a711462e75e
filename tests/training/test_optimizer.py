"""The schedule, the decay mask, clipping: against what the recipe says."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aligngap.config import default, tower
from aligngap.errors import UsageError
from aligngap.models import dual_encoder
from aligngap.training import optimizer


def test_schedule_is_linear_warm_up_then_cosine_to_zero():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.peak_lr = 100, 10, 2e-3
    rate = optimizer.schedule(config)
    for step in (0, 5, 10, 40, 99, 100):
        progress = (step - 10) / 90
        wanted = 2e-3 * (step / 10 if step < 10 else 0.5 * (1 + np.cos(np.pi * progress)))
        assert float(rate(step)) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("tie", ["none", "transformer+projection"])
def test_decay_is_on_matrices_only(tie):
    config = default()
    config.model.tie = tie
    for part in (config.model.image, config.model.text):
        part.update(tower(16, 2, 2, 2.0))
    model = dual_encoder.make(config)
    arguments = jnp.zeros((1, 224, 224, 3)), jnp.zeros((1, 77), jnp.int32)
    params = nn.unbox(jax.eval_shape(model.init, jax.random.key(0), *arguments))["params"]
    mask = optimizer.decay_mask(params)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): value
        for path, value in jax.tree.leaves_with_path(mask)
    }
    for name, decayed in flat.items():
        excluded = ("bias", "scale", "class_token", "logit_scale")
        assert decayed != name.endswith(excluded), name
    assert not flat["logit_scale"]
    assert sum(flat.values()) >= 8


def update(config, gradient):
    tx, params = optimizer.make(config), {"kernel": jnp.ones(3), "bias": jnp.ones(3)}
    state = tx.init(params)
    for _ in range(2):  # At step 0 the rate is 0.
        updates, state = tx.update(jax.tree.map(lambda p: p * gradient, params), state, params)
    return optax.apply_updates(params, updates)


def test_adamw_step_by_hand():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.peak_lr = 10, 1, 0.1
    params = update(config, 2.0)
    # Two equal gradients: both bias-corrected moments are those of the gradient itself.
    adam = 2.0 / (2.0 + config.optimizer.eps)
    assert float(params["bias"][0]) == pytest.approx(1 - 0.1 * adam, rel=1e-5)
    assert float(params["kernel"][0]) == pytest.approx(1 - 0.1 * (adam + 0.1), rel=1e-5)


def test_clipping_bounds_the_global_norm():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.eps = 10, 1, 1.0
    config.optimizer.clip_norm = 0.5
    # With so large an eps Adam keeps the gradient's size: clipped, 100 and 1 give the same step.
    np.testing.assert_allclose(update(config, 100.0)["bias"], update(config, 1.0)["bias"])
    config.optimizer.clip_norm = 0.0
    assert update(config, 100.0)["bias"][0] < update(config, 1.0)["bias"][0]


def test_learning_rate_factors_by_path():
    config = default()
    config.steps, config.optimizer.warmup_steps = 10, 1
    plain = update(config, 2.0)
    config.optimizer.lr_factors = (("^bias$", 0.0), ("b", 7.0), ("kern", 0.5))
    scaled = update(config, 2.0)
    np.testing.assert_array_equal(scaled["bias"], 1.0)
    np.testing.assert_allclose(1 - scaled["kernel"], 0.5 * (1 - plain["kernel"]), rtol=1e-3)


def test_a_factor_for_no_parameter_is_refused():
    config = default()
    config.optimizer.lr_factors = (("logit_scales", 0.5),)
    with pytest.raises(UsageError, match="'logit_scales'; one is 'logit_scale'"):
        optimizer.check(config, {"logit_scale": 0.0, "kernel": 0.0})


def test_the_constant_schedule_stays_at_its_peak():
    config = default()
    config.optimizer.update(schedule="constant", peak_lr=1e-6, warmup_steps=0)
    assert [float(optimizer.schedule(config)(step)) for step in (0, 1, 10**6)] == pytest.approx(
        [1e-6] * 3
    )
    config.optimizer.warmup_steps = 4
    rates = [float(optimizer.schedule(config)(step)) for step in (0, 1, 3, 4, 5)]
    assert rates == pytest.approx([0, 0.25e-6, 0.75e-6, 1e-6, 1e-6])


def test_decay_of_all_reaches_vectors_too():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.peak_lr = 10, 1, 0.1
    config.optimizer.decay = "all"
    params = update(config, 0.0)
    np.testing.assert_allclose(params["bias"], 1 - 0.1 * 0.1, rtol=1e-6)
    np.testing.assert_allclose(params["kernel"], params["bias"])


def test_decay_of_all_leaves_a_resnets_statistics_as_they_are():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.decay = 10, 1, "all"
    config.model.image.stages = (3, 4, 6, 3)
    tx, params = optimizer.make(config), {"bn1": {n: jnp.ones(3) for n in ("scale", "mean", "var")}}
    state = tx.init(params)
    for _ in range(2):  # At step 0 the rate is 0.
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
    moved = {name: bool(jnp.any(update != 0)) for name, update in updates["bn1"].items()}
    assert moved == {"scale": True, "mean": False, "var": False}


def test_a_locked_parameter_has_no_update_no_state_and_no_part_in_the_norm():
    config = default()
    config.steps, config.optimizer.warmup_steps, config.optimizer.peak_lr = 10, 1, 0.1
    config.optimizer.clip_norm = 1.0
    free = {"kernel": jnp.ones(3)}
    gradients = {"kernel": jnp.full(3, 2.0), "bias": jnp.full(3, 1e6)}
    alone, _ = optimizer.make(config).update(
        {"kernel": gradients["kernel"]}, optimizer.make(config).init(free), free
    )
    config.optimizer.lr_factors = (("bias", 0.0),)
    tx, params = optimizer.make(config), {**free, "bias": jnp.ones(3)}
    state = tx.init(params)
    updates, _ = tx.update(gradients, state, params)
    np.testing.assert_array_equal(updates["bias"], 0)
    np.testing.assert_array_equal(updates["kernel"], alone["kernel"])
    assert sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim) == 2 * 3
