"""The mesh, its rules, and the errors for what does not fit."""

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from aligngap.config import default, tower
from aligngap.errors import UsageError
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.training import optimizer, state


def config_with(data, fsdp, tensor):
    config = default()
    config.mesh.update(data=data, fsdp=fsdp, tensor=tensor)
    for part in (config.model.image, config.model.text):
        part.update(tower(64, 2, 4, 4.0))
    config.model.text.vocab_size = 128
    return config


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((-1, 1, 1), (8, 1, 1)),
        ((2, -1, 2), (2, 2, 2)),
        ((4, 2, 1), (4, 2, 1)),
        ((1, 1, -1), (1, 1, 8)),
    ],
)
def test_shape_fills_the_free_axis(given, wanted):
    assert meshes.shape(config_with(*given), 8) == wanted


@pytest.mark.parametrize("given", [(3, 1, 1), (-1, -1, 1), (-1, 3, 1), (0, 1, 1), (16, 1, 1)])
def test_shapes_that_do_not_fit_the_devices(given):
    with pytest.raises(UsageError, match="mesh"):
        meshes.shape(config_with(*given), 8)


def test_batch_that_does_not_divide_names_the_nearest():
    mesh = AbstractMesh((4, 2, 1), meshes.AXES)
    meshes.check_batch(64, mesh)
    with pytest.raises(UsageError, match=r"batch_size=60.*56 or 64"):
        meshes.check_batch(60, mesh)


def state_layout(config, mesh):
    model, tx = dual_encoder.make(config), optimizer.make(config)
    return meshes.shardings(state.abstract(config, model, tx), mesh)


def test_parameters_and_optimiser_state_are_laid_out_by_the_rules():
    layout = state_layout(config_with(2, 2, 2), AbstractMesh((2, 2, 2), meshes.AXES))
    block = layout.params["image_transformer"]["blocks"]
    assert block["mlp"]["hidden"]["kernel"].spec == PartitionSpec(None, "fsdp", "tensor")
    assert block["attention"]["output"]["kernel"].spec == PartitionSpec(
        None, "tensor", None, "fsdp"
    )
    moments = [
        s.mu
        for s in jax.tree.leaves(layout.opt_state, is_leaf=lambda s: hasattr(s, "mu"))
        if hasattr(s, "mu")
    ]
    assert moments[0]["text_input"]["tokens"]["embedding"].spec == PartitionSpec("tensor", "fsdp")
    assert layout.step.spec == PartitionSpec()


def test_a_width_that_the_mesh_does_not_divide_is_named():
    config = config_with(1, 8, 1)
    config.model.text.update(tower(60, 2, 4, 4.0))
    with pytest.raises(UsageError, match=r"text_input/.*60.*fsdp=8"):
        state_layout(config, AbstractMesh((1, 8, 1), meshes.AXES))


def test_constraints_reach_the_compiled_program():
    """Under `set_mesh` and the rules; without either they would silently do nothing."""
    config = config_with(2, 2, 2)
    model = dual_encoder.make(config)
    mesh = meshes.make(config)
    images = jax.ShapeDtypeStruct((8, 224, 224, 3), "float32")
    ids = jax.ShapeDtypeStruct((8, 77), "int32")
    params = jax.eval_shape(
        lambda: dual_encoder.nn.unbox(
            model.init(
                jax.random.key(0),
                *(jax.numpy.zeros((1, *x.shape[1:]), x.dtype) for x in (images, ids)),
            )
        )
    )
    with jax.set_mesh(mesh):
        jaxpr = str(jax.make_jaxpr(meshes.with_rules(model.apply))(params, images, ids))
    assert "sharding_constraint" in jaxpr
    assert "('data', 'fsdp')" in jaxpr
    assert "tensor" in jaxpr
