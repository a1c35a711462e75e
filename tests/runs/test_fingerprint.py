"""A fingerprint changes with every bit, and with no mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from aligngap.runs import fingerprint


def tree(seed=0):
    random = np.random.default_rng(seed)
    return {
        "matrix": random.standard_normal((6, 8)).astype(np.float32),
        "stack": {"bias": random.standard_normal((2, 3, 4)).astype(np.float32)},
        "half": jnp.asarray(random.standard_normal(5), jnp.bfloat16),
        "count": np.int32(7),
    }


def test_any_flipped_bit_changes_the_number_of_its_array_alone():
    before = fingerprint.take(tree())
    assert before.keys() == {"matrix", "stack/bias", "half", "count"}
    for index in range(48):
        for bit in range(0, 32, 5):
            changed = tree()
            changed["matrix"].view(np.uint32).reshape(-1)[index] ^= np.uint32(1 << bit)
            after = fingerprint.take(changed)
            assert after.pop("matrix") != before["matrix"], (index, bit)
            assert after.items() <= before.items()


def test_two_that_change_places_change_it():
    before, changed = fingerprint.take(tree()), tree()
    changed["matrix"][[0, 3]] = changed["matrix"][[3, 0]]
    assert fingerprint.take(changed)["matrix"] != before["matrix"]


@pytest.mark.parametrize("spec", [("data",), (None, "fsdp"), ("data", "fsdp")])
def test_it_does_not_depend_on_where_the_array_lies(spec):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    placed = jax.device_put(tree()["matrix"], NamedSharding(mesh, PartitionSpec(*spec)))
    assert fingerprint.take({"matrix": placed})["matrix"] == fingerprint.take(tree())["matrix"]
