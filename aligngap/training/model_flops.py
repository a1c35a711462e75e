"""FLOP that a step needs, by formula and part: the numerator of model FLOPs utilisation (MFU).

PaLM's definition (Chowdhery et al. 2022, appendix B): products of matrices of one forward and one
backward pass, 2 FLOP a multiply-add, attention in full whatever its mask; of the last block what
the pooled tokens need. What a step computes again to save memory (remat, GradCache's second forward
pass, the tiles of a loss) and what is elementwise do not count; `flops.count` of the same step has
what the hardware does.

Shapes: B batch, L length, W width, H units of the MLP, D dimensions of the space of both.
"""

from typing import Any, NamedTuple

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
from aligngap.training.optimizer import locked, lr_factors

# The parts of a tower from below: how their parameters' paths begin, tied or after the modality.
PARTS = ("input/", "resnet/", "transformer/blocks/", "transformer/", "pooling/", "projection/")


class Part(NamedTuple):
    """Whether a part of a tower learns, and whether anything below it does.

    A product's backward pass is two products of its size: the gradients of both factors, where a
    kernel's is needed if it learns, and that of what enters if that comes from what learns.
    """

    learns: bool
    below: bool

    @property
    def reached(self) -> bool:
        """Whether gradients pass through it: its own norms stand before its products."""
        return self.learns or self.below


Parts = dict[str, Part]
FORWARD: Parts = dict.fromkeys(PARTS, Part(learns=False, below=False))


def parts(
    config: ConfigDict, sentences: Bert | None = None, packing: Plan | None = None
) -> dict[str, float]:
    """FLOP of a step by part: "image tower", "text tower", "loss" and, where the step has them,
    "teacher" and, for captions that it embeds with `sentences`, "sentence encoder"; over all
    devices. `packing`: of its captions, in the rows that nearly all steps have."""
    batch, own = config.batch_size, _learning(config)
    image, text = _image(config, own["image"]), _text(config, own["text"], packing)
    semantics = sentences.shape.hidden_size if sentences else records.SEMANTICS
    learns = {modality: of["projection/"].reached for modality, of in own.items()}
    loss = _loss(config, learns, semantics)
    found = {"image tower": batch * image, "text tower": text, "loss": loss}
    if objective.distils(config):
        found["teacher"] = batch * _image(config, FORWARD) + _text(config, FORWARD, packing)
    if sentences is not None:
        found["sentence encoder"] = batch * _sentence(sentences, config.data.semantics_tokens)
    return found


def _learning(config: ConfigDict) -> dict[str, Parts]:
    """The parts of each modality's tower; one learns, and counts in full, where any of its
    parameters does."""
    if not config.optimizer.lr_factors:
        return dict.fromkeys(MODALITIES, dict.fromkeys(PARTS, Part(learns=True, below=True)))
    factors = lr_factors(config, parameters.abstract(config, dual_encoder.make(config)))
    flat = {parameters.path_name(p): f for p, f in jax.tree.leaves_with_path(factors)}
    found: dict[str, Parts] = {modality: {} for modality in MODALITIES}
    for modality, own in found.items():
        below = False
        for part in PARTS:
            starts = (part, f"{modality}_{part}")
            own[part] = Part(any(f for name, f in flat.items() if name.startswith(starts)), below)
            below = own[part].reached
    return found


def _image(config: ConfigDict, parts: Parts) -> float:
    """Of one image. Pixels get no gradient."""
    model, image = config.model, config.model.image
    if image.stages:
        return _resnet(config, parts["projection/"].reached)
    length = (image.size // image.patch_size) ** 2
    patches = 2 * length * 3 * image.patch_size**2 * image.width
    by_attention = image.pooling == "attention"
    kept = towers.patches_kept(length, image.patch_dropout)
    work = (1 + parts["input/"].learns) * patches
    tokens, blocks, widths = kept + (not by_attention), parts["transformer/blocks/"], _widths(image)
    work += (image.layers - 1) * _layer(*widths, tokens, blocks)
    if by_attention:
        pooling = _attention_pooling(*widths, kept, parts["pooling/"])
        work += _layer(*widths, tokens, blocks) + pooling
    else:
        work += _last(*widths, tokens, blocks)
    return work + _projection(model, image, parts["projection/"])


def _text(config: ConfigDict, parts: Parts, packing: Plan | None) -> float:
    """Of all texts, padding included. Looking up a token's embedding is no product."""
    model, text = config.model, config.model.text
    batch, own = config.batch_size, parts["transformer/blocks/"]
    rows, length, widths = batch, text.context_length, _widths(text)
    last = batch * _last(*widths, length, own)
    if packing:  # Queries of all tokens, whose rows hold several captions.
        rows, length = packing.groups * packing.counts[0], packing.row
        last = rows * _attention(text.width, length, own) + batch * _behind_attention(*widths, own)
    blocks = rows * (text.layers - 1) * _layer(*widths, length, own) + last
    return blocks + batch * _projection(model, text, parts["projection/"])


def _widths(tower: ConfigDict) -> tuple[int, int]:
    """W and H."""
    return tower.width, round(tower.width * tower.mlp_ratio)


def _layer(width: int, hidden: int, length: int, part: Part) -> float:
    return _attention(width, length, part) + length * _behind_attention(width, hidden, part)


def _attention(width: int, length: int, part: Part) -> float:
    """Forward: qkv 6·L·W²; attention 2·2·L²·W."""
    return _both(6 * length * width**2, 4 * length**2 * width, part)


def _behind_attention(width: int, hidden: int, part: Part) -> float:
    """Of a token: output 2·W², MLP 2·2·W·H."""
    return _both(2 * width**2 + 4 * width * hidden, 0, part)


def _last(width: int, hidden: int, length: int, part: Part) -> float:
    """The keys and values of all tokens, and what one needs."""
    kernels, attention = (2 + 4 * length) * width**2, 4 * length * width
    return _both(kernels, attention, part) + _behind_attention(width, hidden, part)


def _both(kernels: float, attention: float, part: Part) -> float:
    """Forward and backward; attention's products have no kernel, both factors are activations."""
    return (1 + part.learns + part.reached) * kernels + (1 + 2 * part.reached) * attention


def _attention_pooling(width: int, hidden: int, length: int, part: Part) -> float:
    """A query more goes through qkv, and alone through all that follows."""
    qkv, attention = 6 * (1 + length) * width**2, 4 * length * width
    return _both(qkv, attention, part) + _behind_attention(width, hidden, part)


def _projection(model: ConfigDict, tower: ConfigDict, part: Part) -> float:
    forward = 0 if tower.projection == "none" else 2 * tower.width * model.embed_dim
    return (1 + part.learns + part.below) * forward


def _resnet(config: ConfigDict, learns: bool) -> float:
    """Of one image, counted: its convolutions have no short formula, and nothing is computed
    again."""
    model, side = dual_encoder.make(config), config.model.image.size
    params = parameters.abstract(config, model)
    pixels = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)

    def encode(params: Any, pixels: Any) -> Any:
        own = {"params": locked(config, params)}
        return jnp.sum(model.apply(own, pixels, method="encode_image"))

    return flops.count(jax.value_and_grad(encode) if learns else encode, params, pixels)


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
    layer = _layer(shape.hidden_size, shape.intermediate_size, length, Part(False, False))
    return shape.num_hidden_layers * layer
