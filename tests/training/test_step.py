"""One step against its parts, the clamp, the average, and every mesh against one device."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from aligngap import flops
from aligngap.data import pipeline
from aligngap.interop import importing
from aligngap.models import dual_encoder, towers
from aligngap.models.logit_scale import scale_of
from aligngap.objectives.objective import distils
from aligngap.parallel import mesh as meshes
from aligngap.presets import PRESETS
from aligngap.training import agreement, optimizer, state
from aligngap.training import run as runs
from aligngap.training.step import (
    clamp_scale,
    duplicates,
    key_of,
    make_encode,
    make_gradients,
    make_step,
    make_taught,
)

import reference

pytestmark = pytest.mark.corpus


def start(config, folder):
    if distils(config) and not config.init_from:
        config.init_from = beginning(config, folder.with_name("beginning"))
    run = runs.prepare(config, folder)
    batches = pipeline.batches(config, run.source, run.tokenizer)
    return (
        run,
        state.create(config, run.module, run.tx, run.mesh),
        list(itertools.islice(batches, 4)),
    )


def beginning(config, folder):
    """A workdir that holds this model at step 0."""
    plain = config.copy_and_resolve_references()
    plain.objective.update(contrastive_weight=1.0, distillation_weight=0.0)
    run = runs.prepare(plain, folder)
    importing.save(folder, plain, state.create(plain, run.module, run.tx, run.mesh).params)
    return str(folder)


def test_a_step_is_gradient_update_clamp_and_average(small, tmp_path):
    small.optimizer.ema_decay = 0.9
    run, before, (batch, *_) = start(small, tmp_path)
    step = jax.jit(make_step(small, run.module, run.tx))
    # Once for the warm-up, whose first rate is 0.
    before, _ = step(before, batch)
    after, metrics = step(before, batch)

    def loss(params):
        pixels = towers.normalise(batch["image"], small.data.mean, small.data.std)
        v, t, s = run.module.apply({"params": params}, pixels, batch["text"])
        logits = s * v @ t.T
        rows = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(32))
        columns = optax.softmax_cross_entropy_with_integer_labels(logits.T, jnp.arange(32))
        own = s * (v @ v.T) * (1 - batch["semantics"] @ batch["semantics"].T)
        own = jnp.where(jnp.eye(32, dtype=bool), logits, own)
        separation = optax.softmax_cross_entropy_with_integer_labels(own, jnp.arange(32))
        return 0.5 * (rows.mean() + columns.mean()) + 0.25 * separation.mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(before.params)
    updates, _ = optimizer.make(small).update(gradients, before.opt_state, before.params)
    wanted = optax.apply_updates(before.params, updates)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["gradient_norm"]) == pytest.approx(
        float(optax.tree.norm(gradients)), rel=1e-4
    )
    # A tenth of the rate: Adam makes a step of rounding where a gradient is next to nothing.
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5)  # noqa: E731
    jax.tree.map(close, after.params, wanted)
    average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, before.averaged, after.params)
    jax.tree.map(close, after.averaged, average)
    assert int(after.step) == 2
    assert after.eval_params is after.averaged


@pytest.mark.parametrize("form", ["exp", "softplus"])
@pytest.mark.parametrize(("given", "wanted"), [(-30.0, 1.0), (3.0, None), (900.0, 100.0)])
def test_the_logit_scale_is_clamped(given, wanted, form):
    model = ConfigDict({"scale_form": form, "scale_max": 100.0})
    params = clamp_scale({"logit_scale": jnp.float32(given), "other": 1}, model)
    right = scale_of(given, form) if wanted is None else wanted
    assert float(scale_of(params["logit_scale"], form)) == pytest.approx(float(right), rel=1e-5)
    assert params["other"] == 1


def curve(config, folder):
    run, current, batches = start(config, folder)
    function = run.compiled_step
    losses = []
    with jax.set_mesh(run.mesh):
        for batch in batches:
            placed = meshes.global_batch(batch, run.config.batch_size, run.mesh)
            nothing = agreement.requests(agreement.Request.NOTHING, run.mesh)
            current, metrics = function(current, placed, nothing)
            jax.block_until_ready(current)
            losses.append(float(metrics["loss"]))
    return losses, jax.device_get(current.params)


def on_mesh(small, shape):
    config = small.copy_and_resolve_references()
    config.mesh.update(data=shape[0], fsdp=shape[1], tensor=shape[2])
    return config


def test_every_mesh_of_eight_devices_trains_as_one_device_does(small, tmp_path, monkeypatch):
    small.model.tie = "none"
    everyone = jax.devices()
    # One device is a mesh over the first of the eight.
    with monkeypatch.context() as patch:
        patch.setattr(meshes, "make", lambda _: jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3, devices=everyone[:1]))  # fmt: skip # noqa: E501
        wanted, params = curve(on_mesh(small, (8, 1, 1)), tmp_path / "one")
    for shape in [(2, 2, 2), (1, 8, 1)]:
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


def test_fsdp_leaves_each_device_an_eighth(small):
    """Of parameters and optimiser state: at most 5 % more than an eighth of the whole."""
    config = on_mesh(small, (1, 8, 1))
    for tower_ in (config.model.image, config.model.text):
        tower_.update(width=256, heads=8, layers=2)
    config.model.tie = "none"
    model, tx = dual_encoder.make(config), optimizer.make(config)
    created = state.create(config, model, tx, meshes.make(config))
    kept = [x for x in jax.tree.leaves((created.params, created.opt_state)) if x.ndim]
    first = jax.devices()[0]
    own = sum(s.data.nbytes for x in kept for s in x.addressable_shards if s.device == first)
    assert own <= sum(x.nbytes for x in kept) / 8 * 1.05


def test_a_step_that_is_not_finite_changes_nothing_but_its_number(small, tmp_path):
    """Where such steps are to be skipped: one row of the semantics is nan."""
    small.health.skip_nonfinite = 1
    small.optimizer.ema_decay = 0.9
    run, before, (batch, *_) = start(small, tmp_path)
    step = jax.jit(make_step(small, run.module, run.tx))
    before, metrics = step(before, batch)
    assert np.isfinite(metrics["loss"])
    bad = {**batch, "semantics": np.where(np.arange(32)[:, None] == 5, np.nan, batch["semantics"])}
    after, metrics = step(before, bad.copy())
    assert not np.isfinite(metrics["loss"])
    assert int(after.step) == int(before.step) + 1
    # The rate that comes next is that of the step's number, as metrics say it.
    assert int(optax.tree.get(after.opt_state, "count", filtering=of_schedule)) == 2
    opt_state = optax.tree.set(after.opt_state, of_schedule, count=jnp.ones((), jnp.int32))
    for part, other in (
        ("params", after.params),
        ("opt_state", opt_state),
        ("averaged", after.averaged),
    ):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, part), other)


def of_schedule(path, _):
    return any(getattr(part, "tuple_name", "") == "ScaleByScheduleState" for part in path)


@pytest.mark.parametrize("temperature", ["fixed", "scheduled"])
def test_a_temperature_that_is_not_learnt_is_what_the_model_then_says(small, tmp_path, temperature):
    """Whatever else moves it: the decay of all parameters."""
    small.objective.temperature = temperature
    small.objective.temperature_schedule = (0.1, 0.05)
    small.optimizer.decay, small.optimizer.peak_lr = "all", 0.1
    run, held, batches = start(small, tmp_path)
    step = jax.jit(make_step(small, run.module, run.tx))
    for number, batch in enumerate(batches):
        held, metrics = step(held, batch)
        wanted = 1 / 0.07 if temperature == "fixed" else 1 / (0.1 - 0.05 * number / 7)
        saved = scale_of(held.params["logit_scale"], "exp")
        assert float(saved) == pytest.approx(wanted, rel=1e-6)
        assert float(saved) == pytest.approx(float(metrics["scale"]), rel=1e-6)


def test_statistics_are_of_the_parts_they_name(small, tmp_path):
    small.log.statistics = True
    run, before, (batch, *_) = start(small, tmp_path)
    _, metrics = jax.jit(make_step(small, run.module, run.tx))(before, batch)
    params = jax.device_get(before.params)
    blocks = jax.tree.leaves(params["transformer"]["blocks"])
    for layer in range(2):
        wanted = np.sqrt(sum(np.square(leaf[layer], dtype=np.float64).sum() for leaf in blocks))
        found = metrics[f"parameter_norm/transformer/{layer:02}"]
        assert float(found) == pytest.approx(wanted, rel=1e-5)
    parts = [v for k, v in metrics.items() if k.startswith("gradient_norm/")]
    whole = float(metrics["gradient_norm"])
    assert np.sqrt(sum(float(x) ** 2 for x in parts)) == pytest.approx(whole, rel=1e-5)
    image, text = run.module.apply(
        {"params": params},
        towers.normalise(batch["image"], small.data.mean, small.data.std),
        batch["text"],
        method="encode",
    )
    wanted = np.linalg.norm(np.mean(image, 0) - np.mean(text, 0))
    assert float(metrics["batch/centroid_distance"]) == pytest.approx(float(wanted), rel=1e-5)


def gradients(config, folder, mesh=None):
    """((loss, metrics), gradients) of the first batch of 256."""
    run, state_, (batch, *_) = start(config, folder)
    function = jax.jit(meshes.with_rules(make_gradients(config, run.module)))
    taught = jax.jit(meshes.with_rules(make_taught(config, run.module)))
    with jax.set_mesh(run.mesh) if mesh else contextlib.nullcontext():
        batch = meshes.global_batch(batch, run.config.batch_size, run.mesh) if mesh else batch
        batch = taught(state_, batch)
        params = state_.params if mesh else jax.device_get(state_.params)
        return jax.device_get(function(params, batch, state_.step))


def assert_same(found, wanted):
    np.testing.assert_allclose(found[0][0], wanted[0][0], rtol=1e-5)
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(wanted[1]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest),
        found[1],
        wanted[1],
    )


# The other terms are those of `test_parts_and_tiles_on_a_mesh`.
@pytest.mark.parametrize("name", ["alignclip_released", "siglip_relative"])
def test_four_parts_of_64_have_the_gradient_of_256(small, tmp_path, name):
    small.batch_size = 256
    small.update_from_flattened_dict({"model.tie": "none"} | PRESETS[name])
    wanted = gradients(small, tmp_path / "whole")
    small.microbatches, small.objective.tile = 4, 48  # Tiles divide neither batch nor part.
    assert_same(gradients(small, tmp_path / "parts"), wanted)


@pytest.mark.parametrize("name", ["alignclip", "cuaxu", "clip_refine"])
def test_parts_and_tiles_on_a_mesh(small, tmp_path, name):
    small.batch_size = 256
    small.update_from_flattened_dict({"model.tie": "none"} | PRESETS[name])
    newer = float(name == "cuaxu")
    small.objective.update(centroid_uniformity_weight=newer, cauchy_schwarz_weight=newer)
    wanted = gradients(small, tmp_path / "whole")
    small.microbatches, small.objective.tile = 4, 24
    small.mesh.update(data=2, fsdp=2, tensor=2)
    assert_same(gradients(small, tmp_path / "parts", mesh=True), wanted)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"objective.temperature": "fixed", "model.scale_init": 20.0}, [20.0, 20.0, 20.0]),
        ({"objective.temperature": "scheduled"}, [100.0, 1 / (0.01 + 0.04 / 7), 1 / 0.05]),
    ],
)
def test_temperature_that_is_not_learned(small, tmp_path, fields, wanted):
    small.update_from_flattened_dict(fields)
    run, current, (batch, *_) = start(small, tmp_path)
    function = jax.jit(make_gradients(small, run.module))
    scales = []
    for step in (0, 1, small.steps - 1):
        (_, metrics), found = function(current.params, batch, jnp.int32(step))
        scales.append(float(metrics["scale"]))
        assert float(found["logit_scale"]) == 0.0
    np.testing.assert_allclose(scales, wanted, rtol=1e-5)


def test_noise_is_a_function_of_the_step_and_the_teacher_stays(small, tmp_path):
    """Losses are those of NumPy's formula on rows before they are of length 1."""
    small.update_from_flattened_dict({"model.tie": "none"} | PRESETS["clip_refine"])
    run, before, (batch, *_) = start(small, tmp_path)
    step = jax.jit(make_step(small, run.module, run.tx))
    middle, first = step(before, batch)
    after, second = step(middle, batch)
    jax.tree.map(np.testing.assert_array_equal, after.teacher, before.params)
    assert float(step(before, batch)[1]["loss"]) == float(first["loss"])
    # The first rate is 0: what differs is the noise.
    assert float(first["random_alignment"]) != float(second["random_alignment"])
    assert float(first["distillation"]) == pytest.approx(float(second["distillation"]), rel=1e-6)
    v, t = (np.asarray(x, float) for x in make_encode(small, run.module)(
        jax.device_get(before.params), batch, key_of(small, before.step)))  # fmt: skip
    assert np.abs(np.linalg.norm(v, axis=1) - 1).max() > 0.1
    wanted = reference.hybrid_distillation(v, t, v, t, 0.5)[0]
    assert float(first["distillation"]) == pytest.approx(wanted, rel=1e-4)
    # E (f − z)² = f² + 1; z is the same of both.
    wanted = np.mean(v**2 + t**2) + 2
    error = np.sqrt(np.mean(8 + 4 * (v + t) ** 2) / v.size)
    assert float(first["random_alignment"]) == pytest.approx(wanted, abs=4 * error)


def test_swapping_is_in_the_loss_and_a_function_of_the_step(small, tmp_path):
    run, current, (batch, *_) = start(small, tmp_path)

    def losses(mode, share):
        small.objective.update(swap=mode, swap_share=share)
        function = jax.jit(make_gradients(small, run.module))
        return [float(function(current.params, batch, jnp.int32(s))[0][0]) for s in (0, 0, 1)]

    plain = losses("none", 0.0)
    assert losses("hard", 0.0) == pytest.approx(plain, rel=1e-5)
    for mode in ("hard", "soft"):
        first, again, other = losses(mode, 1.0)
        assert first == again != other
        assert abs(first - plain[0]) > 1e-3


def test_pairs_that_share_a_caption_or_a_group_are_found(small):
    ids = np.array([[3, 1, 2], [3, 1, 2], [3, 2, 1], [0, 9, 9]], np.int32)
    batch = {"text": jnp.asarray(ids), "group": jnp.asarray([5, 6, 7, 5])}
    assert duplicates(small, batch) is None
    for kind, wanted in {"caption": [0, 0, 1, 2], "group": [0, 1, 2, 0]}.items():
        small.objective.mask_duplicates = kind
        found = np.asarray(jax.jit(lambda b: duplicates(small, b))(batch))
        same = found[:, None] == found[None, :]
        np.testing.assert_array_equal(same, np.equal.outer(wanted, wanted), kind)


def test_a_locked_tower_has_no_backward_pass(small, tmp_path):
    small.model.tie = "none"
    run, before, (batch, *_) = start(small, tmp_path)
    work, of_image = {}, {}
    for factors in ((), (("image_", 0.0),)):
        small.optimizer.lr_factors = factors
        gradients_of = make_gradients(small, run.module)
        work[factors] = flops.count(gradients_of, before.params, batch, before.step)
        gradients = jax.jit(gradients_of)(before.params, batch, before.step)[1]
        of_image[factors] = float(optax.tree.norm(gradients["image_transformer"]))
        assert float(optax.tree.norm(gradients["text_transformer"])) > 0
    assert of_image[()] > 0 == of_image[factors]
    encode = make_encode(small, run.module)
    forward = flops.count(encode, before.params, batch, key_of(small, before.step))
    assert work[factors] < work[()] - 0.5 * forward


def test_the_state_is_donated(small, tmp_path):
    run, before, (batch, *_) = start(small, tmp_path)
    with jax.set_mesh(run.mesh):
        placed = meshes.global_batch(batch, small.batch_size, run.mesh)
        nothing = agreement.requests(agreement.Request.NOTHING, run.mesh)
        memory = run.compiled_step.lower(before, placed, nothing).compile().memory_analysis()
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(before))
    assert memory.alias_size_in_bytes >= held  # Of a device: the new state lies in the old one's.
