"""Captions embedded within the step: as beside the corpus, on any mesh, and outside the state."""

import itertools

import jax
import numpy as np
import pytest

from aligngap.config import default, tower, validate
from aligngap.data import corpora, pipeline, semantics, sentences
from aligngap.errors import UsageError
from aligngap.parallel import mesh as meshes
from aligngap.training import agreement, dry_run, frozen, state
from aligngap.training import run as runs

import sentence_folders


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a small encoder, and what it makes of the captions of a corpus."""
    folder = tmp_path_factory.mktemp("data")
    sentence_folders.without_torch(folder / "encoder")
    semantics.prepare(corpora.find("shapes.Shapes", folder), str(folder / "encoder"))
    return folder


@pytest.fixture
def config(data):
    config = default()
    config.steps, config.batch_size, config.optimizer.warmup_steps = 4, 16, 1
    config.data.corpus, config.data.data_dir = "shapes.Shapes", str(data)
    config.data.semantics_from, config.data.semantics_tokens = "step", 24
    config.data.semantics_model = str(data / "encoder")
    config.model.embed_dim = 32
    config.model.image.update(tower(32, 1, 2, 2.0), size=32, patch_size=16)
    config.model.text.update(tower(32, 1, 2, 2.0), context_length=48, vocab_size=514)
    config.objective.separation_weight = 1.0
    return config


def losses(config, folder):
    run = runs.prepare(config, folder)
    current = state.create(config, run.module, run.tx, run.mesh)
    batches = pipeline.batches(config, run.source, run.tokenizer)
    found = []
    with jax.set_mesh(run.mesh):
        for batch in itertools.islice(batches, 4):
            placed = meshes.global_batch(batch, config.batch_size, run.mesh)
            nothing = agreement.requests(agreement.Request.NOTHING, run.mesh)
            current, metrics = run.compiled_step(current, placed, nothing)
            found.append([float(metrics[name]) for name in ("loss", "separation_image")])
    return np.array(found)


def changed(config, **fields):
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return other


def test_a_batch_has_the_tokens_of_the_sampled_captions(config, data, tmp_path):
    run = runs.prepare(config, tmp_path / "run")
    batch = next(pipeline.batches(config, run.source, run.tokenizer))
    assert batch.keys() == {"image", "text", "group", "sentence"}
    captions = [run.tokenizer.decode(ids) for ids in batch["text"]]
    wanted = sentences.load(str(data / "encoder"), data).embed(captions)
    for count in (1, 4):
        found = frozen.embed(run.encoder.module, run.encoder.params, batch["sentence"], count)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_losses_are_those_of_what_prepare_wrote(config, tmp_path):
    """Up to its float16; and far from those without semantics, or with another encoder's."""
    found = losses(config, tmp_path / "step")
    written = losses(changed(config, data__semantics_from="records"), tmp_path / "records")
    np.testing.assert_allclose(found, written, atol=1e-3)
    plain = losses(changed(config, objective__semantic_rescaling=False), tmp_path / "plain")
    sentence_folders.without_torch(tmp_path / "other", seed=1)
    other = changed(config, data__semantics_model=str(tmp_path / "other"))
    for else_ in (plain, losses(other, tmp_path / "run")):
        assert np.abs(found - else_)[:, 1].min() > 0.1


@pytest.mark.parametrize(
    "fields",
    [
        {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2},
        {"microbatches": 2},
        {"objective__tile": 2},
    ],
)
def test_any_mesh_and_parts_give_the_losses_of_one_device(config, tmp_path, monkeypatch, fields):
    auto = (jax.sharding.AxisType.Auto,) * 3
    one = jax.make_mesh((1, 1, 1), meshes.AXES, axis_types=auto, devices=jax.devices()[:1])
    with monkeypatch.context() as patch:
        patch.setattr(meshes, "make", lambda _: one)
        wanted = losses(config, tmp_path / "one")
    found = losses(changed(config, **fields), tmp_path / "other")
    np.testing.assert_allclose(found, wanted, rtol=2e-5)


def test_what_does_not_rescale_embeds_nothing(config, tmp_path):
    run = runs.prepare(changed(config, objective__semantic_rescaling=False), tmp_path / "run")
    assert run.encoder is None
    assert "sentence" not in next(pipeline.batches(run.config, run.source, run.tokenizer))


def test_a_dry_run_counts_the_encoder(config):
    def floating(config):
        text = dry_run.describe(config)
        (line,) = [line for line in text.splitlines() if line.startswith("FLOP a step")]
        return text, float(line.split()[3])

    (text, more), (_, less) = map(
        floating, (config, changed(config, data__semantics_from="records"))
    )
    assert "  encoder " in text
    tokens, layer = 16 * 24, 4 * 32 * 32 + 2 * 32 * 40
    attention = 2 * 16 * 24 * 24 * 32
    assert more - less == pytest.approx(2 * 2 * (tokens * layer + attention), rel=0.03)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data__semantics_tokens": 25}, "semantics_tokens=25 is more than the 24 that"),
        ({"data__semantics_model": "nowhere"}, "'nowhere' is no sentence encoder"),
    ],
)
def test_what_is_wrong_is_said_before_the_workdir_is_made(config, tmp_path, fields, message):
    with pytest.raises(UsageError, match=message):
        runs.prepare(changed(config, **fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data__semantics_from": "corpus"}, "must be one of records, step"),
        ({"data__semantics": "own.npy"}, "needs data.semantics_from=records"),
        ({"data__semantics_tokens": 2}, "semantics_tokens=2 must be at least 3"),
    ],
)
def test_what_no_config_may_say(config, fields, message):
    with pytest.raises(UsageError, match=message):
        validate(changed(config, **fields))
