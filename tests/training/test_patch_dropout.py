"""Patch dropout: which patches a row keeps, and that it is the same however a batch is split."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from aligngap import flops
from aligngap.data import pipeline
from aligngap.models import dual_encoder, towers
from aligngap.parallel import mesh as meshes
from aligngap.training import run as runs
from aligngap.training import state
from aligngap.training.step import key_of, make_encode, make_gradients

KEY = jax.random.key(5)
N = 16  # Patches of 32 px at 8 px each.


def test_each_row_keeps_as_many_and_every_patch_as_often():
    kept = np.asarray(towers.kept_patches(KEY, jnp.arange(4000), N, 0.75))
    assert kept.shape == (4000, 4)
    assert (np.diff(kept, axis=1) > 0).all() and kept.min() == 0 and kept.max() == N - 1
    share = np.bincount(kept.ravel(), minlength=N) / 4000
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)
    both = np.mean((kept == 0).any(1) & (kept == 9).any(1))  # Without replacement: 4/16 · 3/15.
    assert both == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.parametrize(("count", "dropout", "kept"), [(196, 0.5, 98), (10, 0.7, 3), (9, 0.99, 1)])
def test_how_many_are_kept(count, dropout, kept):
    assert towers.kept_patches(KEY, jnp.arange(2), count, dropout).shape == (2, kept)


def test_a_rows_patches_are_a_function_of_its_number_and_the_key():
    whole = towers.kept_patches(KEY, jnp.arange(12), N, 0.5)
    part = towers.kept_patches(KEY, jnp.array([7, 2]), N, 0.5)
    np.testing.assert_array_equal(part, whole[np.array([7, 2])])
    other = towers.kept_patches(jax.random.key(6), jnp.arange(12), N, 0.5)
    assert (np.asarray(other) != np.asarray(whole)).any(axis=1).sum() >= 10


@pytest.mark.parametrize("class_token", [True, False])
def test_what_is_kept_has_the_values_and_the_positions_that_it_has_without(class_token):
    def tower(dropout):
        return towers.ImageInput(32, 8, 12, True, class_token, 1e-5, dropout, jnp.float32)

    pixels = np.random.default_rng(0).normal(size=(5, 32, 32, 3)).astype(np.float32)
    params = tower(0.5).init(jax.random.key(0), pixels)
    plain = np.asarray(tower(0.0).apply(params, pixels))
    found = np.asarray(tower(0.5).apply(params, pixels, rngs={"train": KEY}))
    first = int(class_token)
    assert found.shape == (5, first + N // 2, 12)
    np.testing.assert_array_equal(found[:, :first], plain[:, :first])
    places = [
        [int(np.abs(plain[row] - token).sum(-1).argmin()) for token in found[row]]
        for row in range(5)
    ]
    np.testing.assert_array_equal(found, np.take_along_axis(plain, np.array(places)[..., None], 1))
    assert all(sorted(set(row)) == row for row in places)
    assert len({tuple(row) for row in places}) > 1
    # Without an rng, as in evaluation, and at 0: all of them.
    np.testing.assert_array_equal(tower(0.5).apply(params, pixels), plain)
    np.testing.assert_array_equal(tower(0.0).apply(params, pixels, rngs={"train": KEY}), plain)


def start(config, folder):
    run = runs.prepare(config, folder)
    batches = itertools.islice(pipeline.batches(config, run.source, run.tokenizer), 1)
    params = state.create(config, run.module, run.tx, run.mesh).params
    return run, jax.device_get(params), next(batches)


@pytest.mark.corpus
@pytest.mark.parametrize("pooling", ["class_token", "attention"])
def test_the_gradient_does_not_depend_on_devices_or_parts(small, tmp_path, pooling):
    small.model.image.update(patch_dropout=0.5, pooling=pooling)
    small.objective.separation_weight, small.model.scan = 0.0, True
    run, params, batch = start(small, tmp_path)
    step = jnp.int32(3)

    def gradients(config, mesh=None):
        function = jax.jit(meshes.with_rules(make_gradients(config, run.module)))
        if mesh is None:
            return jax.device_get(function(params, batch, step))
        with jax.set_mesh(mesh):
            placed = meshes.global_batch(batch, config.batch_size, mesh)
            return jax.device_get(function(params, placed, step))

    (wanted, _), plain = gradients(small)
    undropped = small.copy_and_resolve_references()
    undropped.model.image.patch_dropout = 0.0
    module = dual_encoder.make(undropped)
    other = jax.jit(make_gradients(undropped, module))(params, batch, step)[0][0]
    assert abs(float(other) - float(wanted)) > 1e-4
    parts = small.copy_and_resolve_references()
    parts.microbatches = 4
    mesh = jax.make_mesh((2, 2, 2), meshes.AXES, axis_types=(AxisType.Auto,) * 3)
    for (loss, _), found in (gradients(parts), gradients(small, mesh)):
        np.testing.assert_allclose(loss, wanted, rtol=1e-5)
        largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(plain))
        jax.tree.map(
            lambda a, b, t=1e-5 * largest: np.testing.assert_allclose(a, b, rtol=1e-4, atol=t),
            found,
            plain,
        )


@pytest.mark.corpus
def test_half_the_patches_cost_about_half_of_the_image_tower(small, tmp_path):
    small.model.image.layers = small.model.text.layers = 12  # The last is of one token in any case.
    _, params, batch = start(small, tmp_path)

    def work(dropout):
        small.model.image.patch_dropout = dropout
        encode = make_encode(small, dual_encoder.make(small))
        return flops.count(encode, params, batch, key_of(small, jnp.int32(0)))

    whole, half = work(0.0), work(0.5)
    tokens, context = 1 + N, small.model.text.context_length
    # All but attention's own products are linear in the tokens of both modalities.
    assert half / whole == pytest.approx((tokens - N / 2 + context) / (tokens + context), rel=0.05)
