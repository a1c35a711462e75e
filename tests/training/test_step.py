"""One step against its parts, the clamp, the average, and every mesh against one device."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aligngap.data import images, pipeline
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.training import loop, optimizer, state
from aligngap.training.step import clamp_scale, make_step

pytestmark = pytest.mark.corpus


def start(config, folder):
    run = loop.prepare(config, folder)
    batches = pipeline.batches(config, run.source, run.tokenizer)
    return (
        run,
        state.create(config, run.model, run.tx, run.mesh),
        list(itertools.islice(batches, 4)),
    )


def test_a_step_is_gradient_update_clamp_and_average(small, tmp_path):
    small.optimizer.ema_decay = 0.9
    run, before, (batch, *_) = start(small, tmp_path)
    step = make_step(small, run.model, run.tx)
    # Once for the warm-up, whose first rate is 0.
    before, _ = step(before, batch)
    after, metrics = step(before, batch)

    def loss(params):
        pixels = images.normalise(batch["image"], small.data.mean, small.data.std)
        v, t, s = run.model.apply({"params": params}, pixels, batch["text"])
        logits = s * v @ t.T
        rows = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(32))
        columns = optax.softmax_cross_entropy_with_integer_labels(logits.T, jnp.arange(32))
        own = s * (v @ v.T) * (1 - batch["semantics"] @ batch["semantics"].T)
        own = jnp.where(jnp.eye(32, dtype=bool), logits, own)
        separation = optax.softmax_cross_entropy_with_integer_labels(own, jnp.arange(32))
        return 0.5 * (rows.mean() + columns.mean()) + 0.25 * separation.mean()

    value, gradients = jax.value_and_grad(loss)(before.params)
    updates, _ = optimizer.make(small).update(gradients, before.opt_state, before.params)
    wanted = optax.apply_updates(before.params, updates)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["gradient_norm"]) == pytest.approx(
        float(optax.tree.norm(gradients)), rel=1e-4
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5)  # noqa: E731
    jax.tree.map(close, after.params, wanted)
    average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, before.averaged, after.params)
    jax.tree.map(close, after.averaged, average)
    assert int(after.step) == 2
    assert after.eval_params is after.averaged


@pytest.mark.parametrize(("given", "wanted"), [(-3.0, 0.0), (2.0, 2.0), (9.0, np.log(100))])
def test_the_logit_scale_is_clamped(given, wanted):
    params = clamp_scale({"logit_scale": jnp.float32(given), "other": 1}, 100.0)
    assert float(params["logit_scale"]) == pytest.approx(wanted)
    assert params["other"] == 1


def curve(config, folder):
    run, current, batches = start(config, folder)
    function = loop.compiled_step(run)
    losses = []
    with jax.set_mesh(run.mesh):
        for batch in batches:
            current, metrics = function(current, meshes.global_batch(batch, run.mesh))
            jax.block_until_ready(current)
            losses.append(float(metrics["loss"]))
    return losses, jax.device_get(current.params)


def on_mesh(small, shape):
    config = small.copy_and_resolve_references()
    config.mesh.update(data=shape[0], fsdp=shape[1], tensor=shape[2])
    return config


@pytest.mark.parametrize("tie", ["none", "transformer+projection"])
def test_every_mesh_of_eight_devices_trains_as_one_device_does(small, tmp_path, tie, monkeypatch):
    small.model.tie = tie
    everyone = jax.devices()
    # One device is a mesh over the first of the eight.
    with monkeypatch.context() as patch:
        patch.setattr(meshes, "make", lambda _: jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3, devices=everyone[:1]))  # fmt: skip # noqa: E501
        wanted, params = curve(on_mesh(small, (8, 1, 1)), tmp_path / "one")
    for shape in [(8, 1, 1), (2, 2, 2), (1, 8, 1)]:
        losses, found = curve(on_mesh(small, shape), tmp_path / "_".join(map(str, shape)))
        np.testing.assert_allclose(losses, wanted, rtol=2e-5, err_msg=str(shape))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), found, params)


def test_state_is_created_where_it_belongs(small):
    config = on_mesh(small, (2, 2, 2))
    mesh = meshes.make(config)
    model, tx = dual_encoder.make(config), optimizer.make(config)
    created = state.create(config, model, tx, mesh)
    kernel = created.params["transformer"]["blocks"]["mlp"]["hidden"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, "fsdp", "tensor")
    assert kernel.addressable_shards[0].data.shape == (2, 32, 64)
    one = state.create(config, model, tx, meshes.make(on_mesh(small, (8, 1, 1))))
    jax.tree.map(np.testing.assert_array_equal, created.params, one.params)
