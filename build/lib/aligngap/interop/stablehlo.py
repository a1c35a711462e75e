"""Both encoders as StableHLO, which jax runs alone: programs of the parameters that npz.py names.

Written by jax.export: any batch, for CPUs, CUDA and TPUs, whichever machine exports. All is float32
at precision `highest`, whatever the run's compute dtype: every platform gives the same embeddings,
where the default precision is another on each (TF32, bfloat16).

Parameters are arguments. As constants inside (ViT-B/32's image encoder, 351 MB), each batch size
took 6.8 s to compile where it takes 0.9, and the process 2.8 GB where it takes 1.0.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export
from ml_collections import ConfigDict

from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.models import dual_encoder, towers
from aligngap.models.logit_scale import scale_of
from aligngap.runs.model import Model

SETTINGS = "preprocessing.json"
PLATFORMS = ("cpu", "cuda", "tpu")
DTYPES = {"image": np.uint8, "text": np.int32}
Params = dict[str, jax.Array]  # By their paths.


def file(modality: str) -> str:
    """The file's name."""
    return f"{modality}.stablehlo"


def program(model: Model, modality: str) -> bytes:
    """What jax.export.deserialize reads: Params with uint8 pixels [B, R, R, 3], not normalised,
    or with int32 ids [B, L] → L2-normalised float32 embeddings [B, D]."""
    (batch,) = export.symbolic_shape("batch")
    given = jax.ShapeDtypeStruct((batch, *_row(model.config, modality)), DTYPES[modality])
    # Shapes alone: arrays that lie on a mesh would tie the program to as many devices.
    flat = flatten_dict(model.params, sep="/")
    params = {name: jax.ShapeDtypeStruct(p.shape, p.dtype) for name, p in flat.items()}
    with jax.default_matmul_precision("highest"):
        encode = jax.jit(_encoder(model.config, modality))
        return bytes(export.export(encode, platforms=PLATFORMS)(params, given).serialize())


def settings(model: Model) -> dict[str, Any]:
    """What pixels and ids are made by, and how two embeddings make a logit."""
    config, params = model.config, model.params
    scale = scale_of(params["logit_scale"], config.model.scale_form)
    return {
        "logits": {"scale": float(scale), "bias": float(params.get("logit_bias", 0.0))},
        "image": _input(config, "image") | _image(config),
        "text": _input(config, "text") | _text(config, model.tokenizer),
        "platforms": list(PLATFORMS),
        "jax": jax.__version__,
    }


def _encoder(config: ConfigDict, modality: str) -> Callable[[Params, jax.Array], jax.Array]:
    config = ConfigDict(config.to_dict())
    config.compute_dtype = "float32"  # In which no GPU's own attention kernel is chosen either.
    model, mean, std = dual_encoder.make(config), config.data.mean, config.data.std

    def encode_image(params: Params, pixels: jax.Array) -> jax.Array:
        variables = {"params": unflatten_dict(params, sep="/")}
        return model.apply(variables, towers.normalise(pixels, mean, std), method="encode_image")

    def encode_text(params: Params, ids: jax.Array) -> jax.Array:
        return model.apply({"params": unflatten_dict(params, sep="/")}, ids, method="encode_text")

    return encode_image if modality == "image" else encode_text


def _row(config: ConfigDict, modality: str) -> tuple[int, ...]:
    """The shape of one image, or of one text."""
    size = config.model.image.size
    return (size, size, 3) if modality == "image" else (config.model.text.context_length,)


def _input(config: ConfigDict, modality: str) -> dict[str, Any]:
    shape = ["batch", *_row(config, modality)]
    return {"file": file(modality), "dtype": np.dtype(DTYPES[modality]).name, "shape": shape}


def _image(config: ConfigDict) -> dict[str, Any]:
    inside = {"mean": list(config.data.mean), "std": list(config.data.std)}
    size = config.model.image.size
    both, short = {"both_sides": size}, {"shorter_side": size, "crop": "centre"}
    resized = (both if config.data.resize == "squash" else short) | {"resample": "bicubic"}
    return {"channels": "RGB", "resize": resized, "normalised_inside": inside}


def _text(config: ConfigDict, tokenizer: Tokenizer | None) -> dict[str, Any]:
    found = {"vocab_size": config.model.text.vocab_size, "tokenizer": None}
    if tokenizer is None:
        return found
    ids = {"end_id": tokenizer.end_id, "padding_id": tokenizer.padding_id}
    return found | ids | tokenizer.settings()
