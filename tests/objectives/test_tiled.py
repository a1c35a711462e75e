"""What the memory-linear losses cost, and that a mesh changes only where it is paid."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aligngap import flops, objectives
from aligngap.objectives.divergence import median_sigma
from aligngap.objectives.terms import make_pairs
from aligngap.parallel.axes import AXES, BATCH_AXES
from aligngap.presets import preset

from cases import clouds, gradient, gradients, single

MIB = 2**20


def mesh_of(shape):
    count = int(np.prod(shape))
    return jax.make_mesh(shape, AXES, (AxisType.Auto,) * 3, devices=jax.devices()[:count])


def assert_close(got, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, wanted)


@pytest.mark.parametrize("shape", [(8, 1, 1), (4, 2, 1), (2, 2, 2), (3, 1, 1)])
def test_on_a_mesh_each_loss_is_that_of_the_whole_batch(unit_rows, shape):
    inputs = single(*clouds(unit_rows, 48, 16, duplicates=True))
    v, t, e, groups = inputs
    wanted = gradients(None)(v, t, *single(14.3, -10.0), e, groups)
    mesh = mesh_of(shape)
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    sigma = median_sigma(make_pairs(v, t), None)
    with jax.set_mesh(mesh):
        v, t, e, groups = (jax.device_put(x, sharding) for x in inputs)
        got = gradients(5)(v, t, *single(14.3, -10.0), e, groups)
        found = jax.jit(lambda *x: median_sigma(make_pairs(*x), 5))(v, t)
    assert_close(got, wanted)
    np.testing.assert_allclose(found, sigma, atol=1e-6)


@pytest.mark.parametrize("axes", [("data",), ("fsdp", "model"), ("model", "expert")])
def test_so_it_is_on_a_mesh_of_a_users_own(unit_rows, axes):
    """Whose axes are ours, some of ours or none, with which there is no ring."""
    inputs = single(*clouds(unit_rows, 48, 16, duplicates=True))
    v, t, e, groups = inputs
    wanted = gradient("contrastive", None)(v, t, *single(14.3, -10.0), e, groups)
    mesh = jax.make_mesh((4, 2)[: len(axes)], axes, (AxisType.Auto,) * len(axes))
    sharding = NamedSharding(mesh, PartitionSpec(axes[0]))
    with jax.set_mesh(mesh):
        v, t, e, groups = (jax.device_put(x, sharding) for x in inputs)
        got = gradient("contrastive", 5)(v, t, *single(14.3, -10.0), e, groups)
    assert_close(got, wanted)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("side", [0, 1])
def test_a_row_that_is_nan_makes_every_loss_nan(unit_rows, devices, side):
    """Where −inf would be the best of all losses."""
    inputs = single(*clouds(unit_rows, 48, 16, duplicates=True))
    inputs[side] = inputs[side].at[3].set(jnp.nan)
    v, t, e, groups = inputs
    with jax.set_mesh(mesh_of((devices, 1, 1))):
        found = gradients(5)(v, t, *single(14.3, -10.0), e, groups)
    wanted = gradients(None)(v, t, *single(14.3, -10.0), e, groups)
    for name, (value, _) in wanted.items():
        assert jnp.isnan(value) == (side == 0 or name != "uniformity"), name  # It sees images.
        np.testing.assert_allclose(found[name][0], value, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("batch", [1, 131])
def test_a_batch_that_the_devices_do_not_divide(unit_rows, batch):
    v, t, e, groups = single(*clouds(unit_rows, batch, 16))
    wanted = gradients(None)(v, t, *single(14.3, -10.0), e, groups)
    with jax.set_mesh(mesh_of((8, 1, 1))):
        got = gradients(16)(v, t, *single(14.3, -10.0), e, groups)
    assert_close(got, wanted)


def alignclip(batch, tile, mesh=None, name="alignclip"):
    """(jitted value-and-gradient of a preset's objective, its abstract arguments), D 512, S 384."""
    config = preset(name)
    config.objective.tile = tile
    config.objective.cauchy_schwarz_weight = float(name == "cl_gap")
    total = objectives.total(config)

    def loss(v, t, s, e):
        return total(v, t, s, None, e, None)[0]

    def rows(width):
        sharding = mesh and NamedSharding(mesh, PartitionSpec(BATCH_AXES))
        return jax.ShapeDtypeStruct((batch, width), jnp.float32, sharding=sharding)

    arguments = rows(512), rows(512), jax.ShapeDtypeStruct((), jnp.float32), rows(384)
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2))), arguments


def compiled(*args, **kwargs):
    function, arguments = alignclip(*args, **kwargs)
    return function.lower(*arguments).compile()


# Of cl_gap, six times the embeddings: the centroids, and what derives them, are as large as these.
@pytest.mark.parametrize(("name", "limit"), [("alignclip", 64), ("cl_gap", 6 * 64)])
def test_memory_is_that_of_tiles_and_not_of_the_batch(name, limit):
    small, middle, large = (
        compiled(batch, 1024, name=name).memory_analysis().temp_size_in_bytes
        for batch in (8_192, 32_768, 65_536)
    )
    assert middle <= limit * MIB  # The dense form of alignclip holds 24 GiB.
    assert middle <= 4 * small and large <= 2 * middle


@pytest.mark.parametrize("name", ["alignclip", "cl_gap"])
def test_memory_of_a_device_falls_with_their_number_and_none_gathers_the_batch(name):
    def cost(devices):
        mesh = mesh_of((devices, 1, 1))
        with jax.set_mesh(mesh):
            program = compiled(32_768, 512, mesh, name)
        # As XLA's text names instructions: nothing may put the embeddings together again.
        gathered = re.findall(r"all-gather[\w.-]*\(", program.as_text())
        memory = program.memory_analysis()
        return gathered, memory.temp_size_in_bytes + memory.output_size_in_bytes

    two, eight = cost(2), cost(8)
    assert not two[0] and not eight[0]
    assert eight[1] <= two[1] / 4 * 1.15  # Tiles are as large on eight.


@pytest.mark.parametrize(("name", "limit"), [("clip", 8.0), ("alignclip", 14.0), ("cl_gap", 33.0)])
def test_arithmetic(name, limit):
    """In B²D: contrastive 8 (a product, done twice, and two gradients); a matrix of one side with
    itself, as IMSep's, sees a pair once: 4. cl_gap has three such here, and the median's 12."""
    batch = 32_768
    function, arguments = alignclip(batch, 1024, name=name)
    assert flops.count(function, *arguments) <= limit * batch**2 * 512
