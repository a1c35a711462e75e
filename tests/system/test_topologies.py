"""A run that goes on over other devices: the same parameters to the bit, the same curve."""

import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from aligngap.parallel import mesh as meshes
from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import run as runs

from workdirs import metrics

pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.fixture(scope="module")
def eight(program, tmp_path_factory):
    """A run of 8 steps over eight devices (data 8)."""
    workdir = tmp_path_factory.mktemp("eight") / "run"
    done = program.train(workdir, devices=8, checkpoint__keep=10)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.parametrize(
    ("devices", "axes"),
    [(4, {}), (1, {}), (8, {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2})],
    ids=["4", "1", "2x2x2"],
)
def test_going_on_elsewhere_gives_the_same_curve(eight, program, tmp_path, devices, axes):
    """From step 2: as if it had been killed there."""
    workdir = shutil.copytree(eight, tmp_path / "run")
    for step in (4, 6, 8):
        shutil.rmtree(workdir / "checkpoints" / str(step))
    done = program.train(workdir, devices=devices, **axes)
    assert done.returncode == 0, done.stderr
    assert f"Continuing {workdir} from step 2" in done.stderr
    for here, there in zip(metrics(eight), metrics(workdir), strict=True):
        for name in (name for name in here if name.startswith("train/")):
            assert there[name] == pytest.approx(here[name], rel=1e-3, abs=1e-5), here["step"]


def test_what_is_restored_is_the_same_to_the_bit_on_any_mesh(eight):
    run = runs.reopen(eight)
    shapes = [(8, 1, 1), (4, 1, 1), (1, 1, 1), (2, 2, 2), (1, 8, 1), (1, 4, 2)]
    restored = []
    with Checkpoints(eight, run.config) as checkpoints:
        for shape in shapes:
            devices = jax.devices()[: int(np.prod(shape))]
            mesh = jax.make_mesh(
                shape, meshes.AXES, axis_types=(AxisType.Auto,) * 3, devices=devices
            )
            layout = meshes.shardings(run.abstract, mesh)
            found, _ = checkpoints.restore(8, run.abstract, layout)
            assert all(array.sharding.mesh.shape == mesh.shape for array in jax.tree.leaves(found))
            restored.append(jax.device_get(found))
    assert len(jax.tree.leaves(nn.unbox(run.abstract))) == len(jax.tree.leaves(restored[0]))
    for other in restored[1:]:
        jax.tree.map(np.testing.assert_array_equal, restored[0], other)
