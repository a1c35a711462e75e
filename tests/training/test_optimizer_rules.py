"""Lion and Adafactor against NumPy, and every optimiser's state on a mesh and in checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from aligngap.config import default
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.runs.checkpoints import Checkpoints
from aligngap.training import optimizer, state

RATE, DECAY, STEPS = 0.01, 0.1, 6
SHAPES = {"kernel": (2, 96, 3, 64), "positions": (5, 7), "bias": (128,), "logit_scale": ()}


def config_of(name, **fields):
    config = default()
    config.optimizer.update(name=name, schedule="constant", peak_lr=RATE, warmup_steps=0)
    config.optimizer.update(weight_decay=DECAY, **fields)
    return config


def gradients():
    random = np.random.default_rng(0)
    for step in range(STEPS):
        # Of sizes that differ between rows and columns, and from step to step.
        yield {
            name: random.normal(size=shape) * (1 + step) * np.linspace(0.1, 3, (shape or (1,))[-1])
            for name, shape in SHAPES.items()
        }


def taken(config):
    """Parameters after each of the steps, by optax."""
    tx = optimizer.make(config)
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    current, update = tx.init(params), jax.jit(tx.update)
    for gradient in gradients():
        gradient = {n: jnp.float32(g).reshape(SHAPES[n]) for n, g in gradient.items()}
        updates, current = update(gradient, current, params)
        params = {name: params[name] + updates[name] for name in params}
        yield params


def descend(p, direction, decayed):
    return p - RATE * (direction + (DECAY * p if decayed else 0.0))


def lion(p, g, kept, step, decayed, b1, b2):
    """Chen et al. 2023, algorithm 2."""
    m = kept.get("m", np.zeros_like(g))
    kept["m"] = b2 * m + (1 - b2) * g
    return descend(p, np.sign(b1 * m + (1 - b1) * g), decayed)


def adafactor(p, g, kept, step, decayed, b1, b2):
    """Shazeer & Stern 2018: algorithm 4 with its β₂ₜ and clipping (d = 1), then a momentum."""
    beta, square = 1 - step**-0.8, g**2 + 1e-30
    if g.ndim == 4:  # By the axes of 96 and 64; layers and the three of q, k and v stand beside.
        r = beta * kept.get("r", 0.0) + (1 - beta) * square.mean(axis=3, keepdims=True)
        c = beta * kept.get("c", 0.0) + (1 - beta) * square.mean(axis=1, keepdims=True)
        kept.update(r=r, c=c)
        v = r * c / r.mean(axis=1, keepdims=True)
    else:
        v = kept["v"] = beta * kept.get("v", 0.0) + (1 - beta) * square
    u = g / np.sqrt(v)
    u = u / max(1.0, np.sqrt((u**2).mean()))
    if b1:
        u = kept["m"] = b1 * kept.get("m", 0.0) + (1 - b1) * u
    return descend(p, u, decayed)


@pytest.mark.parametrize(
    ("name", "rule", "b1", "b2"),
    [
        ("lion", lion, 0.9, 0.99),
        ("lion", lion, 0.95, 0.98),
        ("adafactor", adafactor, 0.9, 0.98),
        ("adafactor", adafactor, 0.0, 0.98),
    ],
)
def test_steps_are_those_of_the_paper(name, rule, b1, b2):
    wanted, kept = {n: np.ones(s) for n, s in SHAPES.items()}, {n: {} for n in SHAPES}
    found = taken(config_of(name, b1=b1, b2=b2))
    for step, (gradient, params) in enumerate(zip(gradients(), found, strict=True), 1):
        for n in SHAPES:
            g = gradient[n].reshape(SHAPES[n])
            decayed = n in ("kernel", "positions")
            wanted[n] = rule(wanted[n], g, kept[n], step, decayed, b1, b2)
            np.testing.assert_allclose(params[n], wanted[n], atol=2e-6, err_msg=f"{n} {step}")


ALL = [(name, moments) for name in ("adamw", "lion", "adafactor") for moments in ("float32", "bfloat16")]  # fmt: skip # noqa: E501


@pytest.mark.parametrize(("name", "moments"), ALL)
def test_clip_factors_and_locks_hold_for_all(name, moments):
    config = config_of(name, moments=moments, clip_norm=0.5, decay="all")
    config.optimizer.lr_factors = (("bias", 0.0), ("positions", 0.5))
    free = config_of(name, moments=moments, clip_norm=0.5, decay="all")
    *_, found = taken(config)
    *_, plain = taken(free)
    np.testing.assert_array_equal(found["bias"], 1.0)
    moved = 1 - np.asarray(plain["positions"])
    assert np.abs(moved).min() > 0
    first_found, first_plain = next(taken(config)), next(taken(free))
    np.testing.assert_allclose(
        1 - first_found["positions"], 0.5 * (1 - first_plain["positions"]), rtol=0.05
    )
    kept = jax.tree.leaves(optimizer.make(config).init({n: jnp.ones(s) for n, s in SHAPES.items()}))
    assert not [x for x in kept if x.shape == SHAPES["bias"]]
    large = [x for x in kept if x.shape == SHAPES["kernel"]]
    assert len(large) == {"adamw": 2, "lion": 1, "adafactor": 1}[name]
    assert {str(x.dtype) for x in large} == {moments}


def on_mesh(config, shape):
    own = config.copy_and_resolve_references()
    own.mesh.update(data=shape[0], fsdp=shape[1], tensor=shape[2])
    return own


def created(config):
    module, tx = dual_encoder.make(config), optimizer.make(config)
    mesh = meshes.make(config)
    abstract = state.abstract(config, module, tx)
    return module, tx, mesh, abstract, state.create(config, module, tx, mesh)


@pytest.mark.corpus
def test_adafactors_rows_and_columns_lie_along_the_axes_they_have(small):
    small.optimizer.name, small.model.tie = "adafactor", "none"
    for tower in (small.model.image, small.model.text):
        tower.update(width=128, heads=2)
    *_, held = created(on_mesh(small, (2, 2, 2)))
    factored = held.opt_state[0][0]
    of = lambda tree: tree["image_transformer"]["blocks"]["mlp"]["hidden"]["kernel"]  # noqa: E731
    assert of(held.params).shape == (2, 128, 256)  # layers, embed, mlp
    assert of(factored.v_row).sharding.spec == PartitionSpec(None, "fsdp")
    assert of(factored.v_row).shape == (2, 128)
    assert of(factored.v_col).sharding.spec == PartitionSpec(None, "tensor")
    assert of(factored.v_col).shape == (2, 256)
    assert of(factored.v).shape == (1,)
    qkv = held.params["image_transformer"]["blocks"]["attention"]["qkv"]["kernel"]
    kept = factored.v_row["image_transformer"]["blocks"]["attention"]["qkv"]["kernel"]
    assert (qkv.shape, kept.shape) == ((2, 128, 3, 2, 64), (2, 3, 2, 64))
    assert kept.sharding.spec == PartitionSpec(None, None, "tensor", None)


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "moments"), [("adafactor", "float32"), ("adamw", "bfloat16")])
def test_a_state_goes_on_from_another_mesh_to_the_same_step(small, tmp_path, name, moments):
    small.optimizer.update(name=name, moments=moments)
    small.model.update(tie="none", scan=True)
    for tower in (small.model.image, small.model.text):
        tower.update(width=64, heads=8)
    random = np.random.default_rng(0)
    after = []
    for shape in ((1, 8, 1), (2, 2, 2)):
        config = on_mesh(small, shape)
        _, tx, mesh, abstract, fresh = created(config)
        layout = meshes.shardings(abstract, mesh)
        if not after:
            moved = jax.tree.map(
                lambda x: jnp.asarray(np.abs(random.normal(size=x.shape)) + 1, x.dtype), fresh
            )
            held = jax.device_put(moved, layout)
            with Checkpoints(tmp_path, config, writing=True) as checkpoints:
                checkpoints.save(1, held, {}, {})
        with Checkpoints(tmp_path, config) as checkpoints:
            found, _ = checkpoints.restore(1, abstract, layout)
        jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (found, held)))
        update = jax.jit(meshes.with_rules(tx.update))
        with jax.set_mesh(mesh):
            half = jax.tree.map(lambda p: 0.5 * p, found.params)
            after.append(jax.device_get(update(half, found.opt_state, found.params)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.float32(a), np.float32(b), rtol=1e-5 if a.dtype == np.float32 else 0.01, atol=1e-7
        ),
        *after,
    )
