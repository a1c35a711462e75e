"""A step of packed captions is a step of padded ones, on any mesh and in any parts."""

import itertools
import re

import jax
import numpy as np
import pytest

from aligngap.config import validate
from aligngap.data import packing, pipeline
from aligngap.errors import UsageError
from aligngap.parallel import mesh as meshes
from aligngap.presets import PRESETS
from aligngap.training import feed as feeds
from aligngap.training import run as runs
from aligngap.training import state
from aligngap.training.step import make_gradients

pytestmark = pytest.mark.corpus


def started(config, folder, *, packed):
    config = config.copy_and_resolve_references()
    config.data.pack_captions = packed
    run = runs.prepare(config, folder)
    rows = meshes.own_rows(config.batch_size, run.mesh)
    batches = pipeline.batches(config, run.source, run.tokenizer, rows=rows)
    return run, feeds.make(batches, config.batch_size, run.mesh, run.packing)


def compiled(config, folder, *, packed):
    """(the step's gradients, compiled; its arguments)."""
    run, feed = started(config, folder, packed=packed)
    with jax.set_mesh(run.mesh):
        batch = next(feed).batch
        params = state.create(config, run.module, run.tx, run.mesh).params
        function = jax.jit(meshes.with_rules(make_gradients(config, run.module)))
        arguments = (params, batch, np.int32(0))
        return function.lower(*arguments).compile(), arguments, run


def gradients(config, folder, *, packed):
    function, arguments, run = compiled(config, folder, packed=packed)
    with jax.set_mesh(run.mesh):
        return jax.device_get(function(*arguments))


def assert_same(found, wanted):
    np.testing.assert_allclose(found[0][0], wanted[0][0], rtol=1e-6)
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(wanted[1]))
    assert largest > 1e-3
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6 * largest)  # noqa: E731
    jax.tree.map(close, found[1], wanted[1])


@pytest.mark.parametrize(
    ("mesh", "parts", "fields"),
    [
        ((8, 1, 1), 1, {}),
        ((2, 2, 2), 2, {"model.tie": "none", "model.scan": True}),
        ((1, 1, 8), 4, {"optimizer.lr_factors": (("image_", 0.0),), "model.tie": "none"}),
    ],
)
def test_on_eight_devices_and_in_parts(small, tmp_path, mesh, parts, fields):
    small.update_from_flattened_dict(PRESETS["alignclip"] | fields)
    small.model.text.update(heads=8)
    small.model.image.update(heads=8)
    small.mesh.update(dict(zip(meshes.AXES, mesh, strict=True)))
    small.microbatches = parts
    wanted = gradients(small, tmp_path / "padded", packed=False)
    assert_same(gradients(small, tmp_path / "packed", packed=True), wanted)


def test_no_device_asks_another_for_its_captions(small, tmp_path):
    """The step of eight devices gathers as often, and of the same sizes, as that of padded text."""
    small.mesh.update(data=8)

    def gathers(packed):
        function, _, _ = compiled(small, tmp_path / str(packed), packed=packed)
        moved = re.findall(
            r"= (\S+?)\{\S* (all-gather|all-to-all|collective-permute)\(", function.as_text()
        )
        return sorted(moved)

    assert gathers(True) == gathers(False)
    assert gathers(False)  # Of the embeddings, which the loss compares with all.


def test_batches_are_the_streams_in_as_many_rows_as_any_process_needs(small, tmp_path):
    """Others need something else at each step: the two first are agreed on before."""
    small.mesh.update(data=2, tensor=4)
    run, feed = started(small, tmp_path, packed=True)
    plan, plain = run.packing, pipeline.batches(small, run.source, run.tokenizer)
    batches = list(itertools.islice(plain, 10))

    def need(batch):
        lengths = packing.lengths(packing.grouped(batch["text"], plan.size, plan.parts))
        return max(packing.layout(group, plan.row).needed for group in lengths)

    others = [0, 0, *np.random.default_rng(0).integers(1, plan.size + 1, 6), 0]
    given = []
    for step, (batch, other) in enumerate(zip(batches[:8], others[:8], strict=True)):
        fed = next(feed)
        np.testing.assert_array_equal(fed.batch["text"], batch["text"])
        assert fed.batch["packed_ids"].shape[0] == plan.groups == 2
        given.append(fed.batch["packed_ids"].shape[1])
        assert given[-1] == plan.fitting(max(need(batch), other))
        assert fed.need == need(batches[step + feeds.AHEAD])
        if step:  # Metrics are read one step late: now those of the step before are.
            feed.agree(max(need(batches[step + 1]), others[step + 1]))
    assert len({*given}) > 1


def test_captions_are_packed_only_where_padding_is_never_seen(small):
    small.data.pack_captions = True
    validate(small)
    for fields in ({"causal": False}, {"pooling": "last"}):
        config = small.copy_and_resolve_references()
        config.model.text.update(fields)
        with pytest.raises(UsageError, match="pack_captions=True needs"):
            validate(config)
