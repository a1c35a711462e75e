"""CLIP-Refine's losses and their gradients, which have parts along the rows, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aligngap import objectives
from aligngap.parallel.axes import AXES, BATCH_AXES

import reference
from cases import single


def rows(batch, duplicates=False, length=3.0):
    """(images, texts, both of the teacher, noise): [B, 16], products of about 2 · length²."""
    random = np.random.default_rng(batch)
    found = [length * random.normal(size=(batch, 16)) / 2 for _ in range(4)]
    found[2], found[3] = (x + 0.5 * y for x, y in zip(found[:2], found[2:], strict=True))
    if duplicates:
        found = [x[np.arange(batch) // 2] for x in found]
    return *found, random.normal(size=(batch, 16))


def distilled(tile=None, alpha=0.5):
    """Value and all four gradients, jitted."""

    def loss(*x):
        return objectives.distillation_loss(*x, alpha=alpha, tile=tile)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))


def check(found, wanted, tolerance=2e-5):
    value, gradients = found
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(wanted[0], abs=tolerance * max(1, wanted[0]))
    for got, right in zip(gradients, wanted[1], strict=False):
        largest = max(np.abs(right).max(), 0.1)  # Where it vanishes; rows are of length 6.
        np.testing.assert_allclose(np.asarray(got, float), right, atol=tolerance * largest)


@pytest.mark.parametrize("tile", [None, 12])
@pytest.mark.parametrize(("batch", "duplicates"), [(1, False), (2, True), (33, False), (40, True)])
def test_distillation(batch, duplicates, tile):
    given = rows(batch, duplicates)[:4]
    for alpha in (0.0, 0.5, 0.9):
        found = distilled(tile, alpha)(*single(*given))
        check(found, reference.hybrid_distillation(*given, alpha))
        assert not any(np.asarray(x).any() for x in found[1][2:])  # The teacher's.


def test_a_teacher_that_is_the_model_teaches_the_pair_alone():
    v, t, *_ = rows(20)
    value, gradients = distilled(None, 0.0)(*single(v, t, v, t))
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert max(float(jnp.abs(x).max()) for x in gradients[:2]) < 1e-5
    assert float(distilled(None, 0.5)(*single(v, t, v, t))[0]) > 0.01


@pytest.mark.parametrize("tile", [None, 12])
def test_products_of_hundreds_stay_finite(tile):
    given = rows(24, length=30.0)[:4]
    found = distilled(tile)(*single(*given))
    check(found, reference.hybrid_distillation(*given, 0.5), 1e-4)


@pytest.mark.parametrize("tile", [None, 12])
def test_bfloat16(tile):
    half = [jnp.asarray(x, jnp.bfloat16) for x in rows(33)[:4]]
    wanted = reference.hybrid_distillation(*(np.asarray(x, float) for x in half), 0.5)
    found = distilled(tile)(*half)
    assert all(x.dtype == jnp.bfloat16 for x in found[1])
    check(found, wanted, 1e-2)


@pytest.mark.parametrize("batch", [1, 48, 51])
def test_on_eight_devices_it_is_that_of_the_whole_batch(batch):
    given = rows(batch)[:4]
    mesh = jax.make_mesh((4, 2, 1), AXES, (AxisType.Auto,) * 3)
    with jax.set_mesh(mesh):
        placed = single(*given)
        if batch % 8 == 0:
            over = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
            placed = [jax.device_put(x, over) for x in placed]
        check(distilled(5)(*placed), reference.hybrid_distillation(*given, 0.5))


@pytest.mark.parametrize("batch", [1, 33])
def test_random_alignment(batch):
    v, t, *_, noise = rows(batch)
    compute = jax.value_and_grad(objectives.random_alignment_loss, argnums=(0, 1, 2))
    found = jax.jit(compute)(*single(v, t, noise))
    check(found, reference.random_alignment(v, t, noise))
    assert not np.asarray(found[1][2]).any()
