"""The formula against the count of the whole step's jaxpr, on a CPU where nothing is fused."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from aligngap import flops
from aligngap.config import default, tower
from aligngap.data import packing_plan, records
from aligngap.data.bert import Bert
from aligngap.data.sentence_models import BertShape
from aligngap.models import dual_encoder
from aligngap.presets import PRESETS, SIGLIP_TOWERS, preset
from aligngap.training import frozen, model_flops, optimizer, state
from aligngap.training.step import make_step

RESNET = {"image.stages": (1, 2, 1, 1), "image.width": 8, "image.heads": 4, "image.size": 64}


def small(name="clip", **fields):
    config = preset(name)
    config.batch_size = 24
    config.model.embed_dim = 48
    text = (64, 3, 4, 4.0) if config.model.tie != "none" else (32, 2, 2, 3.0)
    config.model.image.update(tower(64, 3, 4, 4.0), size=32, patch_size=8)
    config.model.text.update(tower(*text), context_length=12, vocab_size=640)
    config.model.update_from_flattened_dict(fields)
    return config


def counted(config, encoder=None, packing=None):
    """FLOP of the step's jaxpr."""
    module, tx = dual_encoder.make(config), optimizer.make(config)
    abstract = nn.unbox(state.abstract(config, module, tx))
    shapes = records.batch_shapes(config) | (packing.shapes(packing.counts[0]) if packing else {})
    batch = {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
    step, inputs = make_step(config, module, tx), (abstract, batch)
    if encoder:
        step = frozen.with_semantics(step, encoder, config.microbatches)
        ids = jax.ShapeDtypeStruct((1, 1), np.int32)
        inputs = (jax.eval_shape(encoder.init, jax.random.key(0), ids)["params"], *inputs)
    return flops.count(step, *inputs)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name):
    config = small(name)
    assert sum(model_flops.parts(config).values()) == counted(config)


@pytest.mark.parametrize(
    "fields",
    [
        {**SIGLIP_TOWERS, "embed_dim": 64, "text.width": 64},
        {**RESNET, "image.projection": "none"},
        {"image.patch_dropout": 0.5},
        {"tie": "transformer", "text.width": 64, "text.layers": 3, "text.heads": 4}
        | {"text.mlp_ratio": 4.0, "text.projection": "affine"},
    ],
    ids=["siglip", "resnet", "patch dropout", "tied blocks alone"],
)
def test_every_tower(fields):
    config = small(**fields)
    assert sum(model_flops.parts(config).values()) == counted(config)


@pytest.mark.parametrize("name", ["clip", "alignclip"])
def test_packed_captions(name):
    config = small(name)
    plan = packing_plan.make(config, 2, (3, 12))
    model = config.model.text
    # Positions are chosen by a product with a kernel of zeros and ones, forward and backward.
    chosen = 2 * 2 * plan.groups * 3 * plan.row * model.context_length * model.width
    needed = sum(model_flops.parts(config, packing=plan).values())
    assert needed == counted(config, packing=plan) - chosen
    assert needed < sum(model_flops.parts(config).values())


@pytest.mark.parametrize("locked", ["image_", "text_"])
def test_a_locked_tower_has_no_backward_pass(locked):
    config = small()
    free = model_flops.parts(config)
    config.optimizer.lr_factors = ((locked, 0.0),)
    found = model_flops.parts(config)
    assert sum(found.values()) == counted(config)
    assert found[f"{locked[:-1]} tower"] < free[f"{locked[:-1]} tower"] / 2.9


@pytest.mark.parametrize("tie", ["none", "transformer+projection"])
@pytest.mark.parametrize(
    "locked",
    [
        "image_(input|transformer)",  # Its projection alone learns.
        "image_(input|transformer/blocks)",
        "image_(transformer|projection)",
        "(^|_)transformer/",
        "(^|_)projection",
        "image_input",
        "^(?!text_input)",
        "^(?!logit)",
    ],
)
def test_a_part_that_is_locked(tie, locked):
    """Forward alone below all that learns; above, without its kernels' gradients."""
    config = small("clip" if tie == "none" else "alignclip", scan=True)
    config.optimizer.lr_factors = ((locked, 0.0),)
    assert sum(model_flops.parts(config).values()) == counted(config)


@pytest.mark.parametrize(
    ("fields", "locked"),
    [
        (SIGLIP_TOWERS | {"embed_dim": 64, "text.width": 64}, "image_pooling"),
        (SIGLIP_TOWERS | {"embed_dim": 64, "text.width": 64}, "image_(input|transformer)"),
        ({**RESNET, "image.projection": "none"}, "image_resnet/(conv|layer[12])"),
        ({**RESNET, "image.projection": "none"}, "image_resnet/(layer|attnpool)"),
    ],
)
def test_a_part_of_another_tower_that_is_locked(fields, locked):
    config = small(**fields)
    config.optimizer.lr_factors = ((locked, 0.0),)
    assert sum(model_flops.parts(config).values()) == counted(config)


def test_a_sentence_encoder_within_the_step():
    config = small("alignclip")
    config.data.semantics_from, config.data.semantics_tokens = "step", 20
    encoder = Bert(BertShape(100, 32, 2, 4, 48, 64), "mean")
    found = model_flops.parts(config, encoder)
    assert sum(found.values()) == counted(config, encoder)
    assert found["sentence encoder"] > 0


def test_what_is_computed_again_is_no_use():
    config = small()
    useful, done = model_flops.parts(config), counted(config)
    config.microbatches = 2  # Both towers go forward twice.
    again = (useful["image tower"] + useful["text tower"]) / 3
    assert model_flops.parts(config) == useful
    assert counted(config) == pytest.approx(done + again, rel=0.02)
    config.objective.tile = 8
    assert model_flops.parts(config) == useful


def test_vit_b16_as_torchvision_counts_it():
    """torchvision says 17.564 G multiply-adds of its vit_b_16, whose head is 768·1000, and whose
    last block is of all tokens."""

    def needed(layers):
        config = default()
        config.batch_size, config.model.image.layers = 1, layers
        return model_flops.parts(config)["image tower"] / 2 / 3

    blocks = 12 * (needed(13) - needed(12))
    assert 196 * 768 * 768 + blocks + 768 * 1000 == pytest.approx(17.564e9, rel=0.002)
