"""Remat policies: the same gradients, less kept and more computed; which of them "auto" takes."""

import json
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap import flops
from aligngap.config import REMAT
from aligngap.data import pipeline
from aligngap.errors import UsageError
from aligngap.models import dual_encoder, parameters
from aligngap.models.transformer import Transformer
from aligngap.training import agreement, remat, state
from aligngap.training import feed as feeds
from aligngap.training import run as runs

pytestmark = pytest.mark.corpus
RESNET = {
    **{"image.stages": (1, 1, 1, 1), "image.width": 8, "image.heads": 4, "image.patch_size": 32},
    **{"image.projection": "none"},
}
B, L, W, HIDDEN, LAYERS = 3, 7, 16, 32, 2


def gradients(config):
    """Value and gradients of a sum over embeddings, no parameter at its initial 0 or 1."""
    module, random = dual_encoder.make(config), np.random.default_rng(0)
    shapes = nn.unbox(parameters.abstract(config, module))
    params = jax.tree.map(lambda p: jnp.float32(random.normal(0.1, 0.2, p.shape)), shapes)
    if config.model.image.stages:  # A norm's variances are above 0.
        params["image_resnet"] = jax.tree.map(jnp.abs, params["image_resnet"])
    side, text = config.model.image.size, config.model.text
    pixels = random.normal(size=(B, side, side, 3)).astype(np.float32)
    ids = random.integers(0, text.vocab_size, (B, text.context_length)).astype(np.int32)
    weights = random.normal(size=(2, B, config.model.embed_dim)).astype(np.float32)

    def loss(params):
        embeddings = module.apply({"params": params}, pixels, ids, method="encode")
        return (jnp.stack(embeddings) * weights).sum()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    ("tie", "scan", "more"),
    [("transformer", True, {}), ("none", False, {}), ("none", True, RESNET)],
    ids=["tied", "unrolled", "resnet"],
)
def test_policies_have_the_same_loss_and_gradients(small, tie, scan, more):
    small.model.update(tie=tie, scan=scan)
    small.model.update_from_flattened_dict(more)
    wanted, plain = gradients(small)
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(plain))
    for policy in REMAT[1:]:
        small.model.remat = policy
        value, found = gradients(small)
        np.testing.assert_allclose(value, wanted, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest),
            found,
            plain,
        )


def transformer(policy, scan):
    module = Transformer(W, LAYERS, 2, HIDDEN / W, "gelu", 1e-5, "xla", jnp.float32, policy, scan)
    x = jnp.ones((B, L, W))
    params = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
    return lambda p, x: module.apply(p, x, False).sum(), nn.unbox(params), x


@pytest.mark.parametrize("scan", [True, False])
def test_what_is_kept_and_what_is_computed_again(scan):
    """By hand: 2 FLOP a multiply-add of what a block's backward pass needs again. The product that
    ends a block is needed by none."""
    work, kept = {}, {}
    for policy in REMAT:
        loss, params, x = transformer(policy, scan)
        work[policy] = flops.count(jax.grad(loss, argnums=(0, 1)), params, x)
        residuals = jax.eval_shape(lambda p, x, f=loss: jax.vjp(f, p, x)[1], params, x)
        kept[policy] = [a.shape for a in jax.tree.leaves(residuals)]
    attention = 2 * 2 * B * L * L * W
    dense = 2 * B * L * W * (3 * W + W + HIDDEN)
    assert work["dots"] - work["none"] == LAYERS * attention
    assert work["block"] - work["none"] == LAYERS * (attention + dense)
    size = {policy: sum(map(np.prod, shapes)) for policy, shapes in kept.items()}
    assert size["block"] < size["dots"] < size["none"]
    # The queries, keys and values, the attention's output, and what enters the activation; their
    # biases need not be added again.
    outputs = LAYERS * (B * L - 1) * (3 * W + W + HIDDEN)
    assert outputs <= size["dots"] - size["block"] <= outputs * 1.05


def test_auto_takes_the_least_recomputation_that_fits(small, capfd):
    small.batch_size, small.model.scan, small.model.remat = 256, True, "auto"
    small.model.image.layers = small.model.text.layers = 4  # The last keeps little in any case.
    made = {policy: runs.learner(remat.under(small, policy)) for policy in REMAT}
    need = {policy: learner.step_bytes() for policy, learner in made.items()}
    assert need["block"] < need["dots"] < need["none"]

    def decided(memory):
        return remat.fitted(small, lambda config: made[config.model.remat], lambda: memory)

    for policy, size in need.items():
        assert decided(size / remat.SHARE) is made[policy]
        assert f"Remat: {policy}, " in capfd.readouterr().err
    with pytest.raises(UsageError, match=r"none, .* GB; dots, .* GB; block, .*microbatches"):
        decided(need["block"])


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_holds_what_was_decided_and_goes_on_with_another(small, tmp_path, caplog, packed):
    small.model.remat, small.data.pack_captions = "auto", packed
    run = runs.prepare(small, tmp_path)  # Of this machine's memory.
    assert run.config.model.remat == "none"
    held = json.loads((tmp_path / "config.json").read_text())
    assert held["model"]["remat"] == "none"
    # What was compiled to decide is not compiled again.
    batches = pipeline.batches(run.config, run.source, run.tokenizer)
    batch = next(feeds.make(batches, run.config.batch_size, run.mesh, run.packing)).batch
    current = state.create(run.config, run.module, run.tx, run.mesh)
    with jax.set_mesh(run.mesh), jax.log_compiles(), caplog.at_level(logging.WARNING):
        nothing = agreement.requests(agreement.Request.NOTHING, run.mesh)
        caplog.clear()
        jax.block_until_ready(run.compiled_step(current, batch, nothing))
    assert not [line for line in caplog.messages if "Finished XLA compilation" in line]
    small.model.remat = "block"
    runs.prepare(small, tmp_path)
    held = json.loads((tmp_path / "config.json").read_text())
    assert held["model"]["remat"] == "block"
