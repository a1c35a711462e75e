"""FLOP that a step needs, by formula and part: the numerator of model FLOPs utilisation (MFU).

PaLM's definition (Chowdhery et al. 2022, appendix B): products of matrices of one forward and one
backward pass, 2 FLOP a multiply-add, attention in full whatever its mask. What a step computes
again to save memory (remat, GradCache's second forward pass, the tiles of a loss) and what is
elementwise do not count; `flops.count` of the same step has what the hardware does.

Shapes: B batch, L length, W width, H units of the MLP, D dimensions of the space of both.
"""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aligngap import flops
from aligngap.config import MODALITIES
from aligngap.data import records
from aligngap.data.bert import Bert
from aligngap.data.packing_plan import Plan
from aligngap.models import dual_encoder, parameters, towers
from aligngap.objectives import objective
from aligngap.objectives.terms import RAW
from aligngap.training.optimizer import lr_factors

# A product's backward pass is two products of its size: the gradients of both factors.
BOTH, OF_ONE, NEITHER = 3, 2, 1  # Times the forward pass.


def parts(
    config: ConfigDict, sentences: Bert | None = None, packing: Plan | None = None
) -> dict[str, float]:
    """FLOP of a step by part: "image tower", "text tower", "loss" and, where the step has them,
    "teacher" and, for captions that it embeds with `sentences`, "sentence encoder"; over all
    devices. `packing`: of its captions, in the rows that nearly all steps have."""
    batch, learns = config.batch_size, _learning(config)
    image, text = _image(config, learns["image"]), _text(config, learns["text"], packing)
    semantics = sentences.shape.hidden_size if sentences else records.SEMANTICS
    loss = _loss(config, learns, semantics)
    found = {"image tower": batch * image, "text tower": text, "loss": loss}
    if objective.distils(config):
        found["teacher"] = batch * _image(config, False) + _text(config, False, packing)
    if sentences is not None:
        found["sentence encoder"] = batch * _sentence(sentences, config.data.semantics_tokens)
    return found


def _learning(config: ConfigDict) -> dict[str, bool]:
    """Whether anything of a tower learns; one that is locked has no backward pass."""
    if not config.optimizer.lr_factors:
        return dict.fromkeys(MODALITIES, True)
    factors = lr_factors(config, parameters.abstract(config, dual_encoder.make(config)))
    flat = {parameters.path_name(p): f for p, f in jax.tree.leaves_with_path(factors)}
    shared = ("transformer/", "projection/")
    return {
        modality: any(f for name, f in flat.items() if name.startswith((modality, *shared)))
        for modality in MODALITIES
    }


def _image(config: ConfigDict, learns: bool) -> float:
    """Of one image. Pixels get no gradient: half of the patches' backward pass is not needed."""
    model, image = config.model, config.model.image
    if image.stages:
        return _resnet(config, learns)
    length = (image.size // image.patch_size) ** 2
    patches = 2 * length * 3 * image.patch_size**2 * image.width
    by_attention = image.pooling == "attention"
    kept = towers.patches_kept(length, image.patch_dropout)
    rest = _transformer(image, kept + (not by_attention)) + _projection(model, image)
    rest += _attention_pooling(image, kept) if by_attention else 0
    return (OF_ONE * patches + BOTH * rest) if learns else NEITHER * (patches + rest)


def _text(config: ConfigDict, learns: bool, packing: Plan | None) -> float:
    """Of all texts, padding included. Looking up a token's embedding is no product."""
    model, text = config.model, config.model.text
    rows, length = config.batch_size, text.context_length
    if packing:
        rows, length = packing.groups * packing.counts[0], packing.row
    forward = rows * _transformer(text, length) + config.batch_size * _projection(model, text)
    return (BOTH if learns else NEITHER) * forward


def _transformer(tower: ConfigDict, length: int) -> float:
    """Forward."""
    return tower.layers * _layer(tower.width, round(tower.width * tower.mlp_ratio), length)


def _layer(width: int, hidden: int, length: int) -> float:
    """Forward: qkv 6·L·W², output 2·L·W², attention 2·2·L²·W, MLP 2·2·L·W·H."""
    return 8 * length * width**2 + 4 * length**2 * width + 4 * length * width * hidden


def _attention_pooling(tower: ConfigDict, length: int) -> float:
    """Forward: a query more goes through qkv, and alone through all that follows."""
    width, hidden = tower.width, round(tower.width * tower.mlp_ratio)
    qkv, attended = 6 * (1 + length) * width**2, 4 * length * width
    return qkv + attended + 2 * width**2 + 4 * width * hidden


def _projection(model: ConfigDict, tower: ConfigDict) -> float:
    return 0 if tower.projection == "none" else 2 * tower.width * model.embed_dim


def _resnet(config: ConfigDict, learns: bool) -> float:
    """Of one image, counted: its convolutions have no short formula, and nothing is computed
    again."""
    model, side = dual_encoder.make(config), config.model.image.size
    params = parameters.abstract(config, model)
    pixels = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)

    def encode(params: Any, pixels: Any) -> Any:
        return jnp.sum(model.apply({"params": params}, pixels, method="encode_image"))

    return flops.count(jax.grad(encode) if learns else encode, params, pixels)


def _loss(config: ConfigDict, learns: dict[str, bool], semantics: int) -> float:
    """2·B²·D and the gradient of each side that learns, for each matrix of cosines that a term
    reads; 2·B²·S for those of what captions mean and 2·B²·D for a teacher's, through which no
    gradient flows."""
    width, pairs = config.model.embed_dim, config.batch_size**2
    raw = {f"raw_{modality}": learnt for modality, learnt in learns.items()}
    learns = {**learns, **raw, "centroid": any(learns.values())}
    return sum(
        2 * pairs * (width * (1 + sum(learns[side] for side in sides)) + own * beside)
        for sides, own in objective.matrices(config).items()
        for beside in [width if sides == RAW else semantics]
    )


def _sentence(encoder: Bert, length: int) -> float:
    """Forward only: it does not learn."""
    shape = encoder.shape
    return shape.num_hidden_layers * _layer(shape.hidden_size, shape.intermediate_size, length)
