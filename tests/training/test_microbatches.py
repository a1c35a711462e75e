"""Encoders that draw from a key: what is drawn for a row does not depend on the parts."""

import jax
import jax.numpy as jnp
import numpy as np

from aligngap.config import default
from aligngap.training import microbatches
from aligngap.training.step import key_of

KEY = jax.random.key(3)
BATCH = {"image": jnp.asarray(np.random.default_rng(0).normal(size=(12, 5)), jnp.float32)}
PARAMS = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)}


def encode(params, batch, key):
    """Half of the entries of each row are dropped at random."""
    places = batch.get("row", jnp.arange(len(batch["image"])))
    kept = jax.vmap(lambda row: jax.random.bernoulli(jax.random.fold_in(key, row), 0.5, (5,)))(
        places
    )
    rows = (batch["image"] * kept) @ params["w"]
    return rows, jnp.tanh(rows)


def loss(params, embeddings, batch, step):
    one, other = embeddings
    value = jax.nn.logsumexp(one @ other.T, axis=1).mean() + (params["w"] ** 2).sum()
    return value, {"loss": value}


def test_the_gradient_is_that_of_the_whole_batch_with_the_same_draws():
    at_once = jax.value_and_grad(lambda p: loss(p, encode(p, BATCH, KEY), BATCH, 0), has_aux=True)
    wanted = at_once(PARAMS)
    for count in (3, 4):
        found = jax.jit(microbatches.gradients(encode, loss, count))(PARAMS, BATCH, 0, KEY)
        np.testing.assert_allclose(found[0][0], wanted[0][0], rtol=1e-6)
        np.testing.assert_allclose(found[1]["w"], wanted[1]["w"], rtol=1e-5, atol=1e-6)


def test_a_step_has_its_own_key_and_a_seed_its_own():
    config = default()
    first, again, other = (jax.random.key_data(key_of(config, step)) for step in (4, 4, 5))
    config.seed = 1
    seeded = jax.random.key_data(key_of(config, 4))
    assert (first == again).all()
    assert (first != other).any() and (first != seeded).any()
