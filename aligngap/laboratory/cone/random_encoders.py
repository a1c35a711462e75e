"""Our encoders as they are drawn, layer by layer, on a corpus and on noise of its shape.

One vector stands for an input after each layer: the class token of the image transformer, the
end-of-text token of the text transformer, the mean over the map of the ResNet; before them, of
images, the pixels. What an encoder's own pooling and projection make of the last is its features.
The class token starts as one vector for all images, so its cosine starts at 1.

The ResNet starts its blocks' last norms at 1, as torchvision's, which the paper drew, and not at
CLIP's 0, where each block is its shortcut. On 128 images of 64 px, in one draw, that is a mean
cosine of .9986 against .9989 for the features, and of .976 against .967 for the last map's mean.
Either way that map is a tenth of the positions that the pooling adds: its features are nearly one
vector.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap import gap, progress
from aligngap.errors import UsageError
from aligngap.laboratory.shared import corpus
from aligngap.models import dual_encoder, resnet
from aligngap.models.towers import ImageInput, TextInput, pool_class_token, pool_end_of_text
from aligngap.models.transformer import Block, Wanted
from aligngap.presets import set_size
from aligngap.unit import unit_rows

CONTEXT = 16  # Tokens of the text tower: the captions are short.
CHUNK = 256  # Rows that are encoded at once.
STAGES = [f"layer{number}" for number in range(1, 5)]


class Encoder(NamedTuple):
    """A network to draw at random, and what it makes of rows of its inputs."""

    initialise: Callable[[Array], Any]  # A key → parameters.
    layers: Callable[[Any, Any], list[Array]]  # Parameters, N rows → [N, W] a layer, features last.
    names: list[str]  # Of the layers.
    pooled: str  # What stands for an input after each of them.
    inputs: Mapping[str, np.ndarray]  # Kind: N rows.


class Drawn(NamedTuple):
    """What K initialisations make of one kind of input."""

    features: Float[np.ndarray, "K N D"]  # L2-normalised.
    cosines: Float[np.ndarray, "K layers"]  # Mean over two inputs.
    layers: list[str]
    pooled: str


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes (small ones), and how many of each."""
    corpus.add_flags(parser)
    add = parser.add_argument
    add("--model", default="Ti/16", help="size of the transformers: Ti, S, B, L, H or g and /patch")
    add("--image_size", type=int, default=64, help="pixels a side of the encoders' images")
    add("--examples", type=int, default=256, help="images, and as many captions")
    shown = "images, of the same, that the ResNet-50 sees: it costs more"
    add("--resnet_examples", type=int, default=64, help=shown)
    add("--initialisations", type=int, default=25, help="of each encoder")


def encoders(arguments: argparse.Namespace) -> dict[str, Encoder]:
    """By name. A further network is a further entry."""
    config = _config(arguments)
    folder, seed = arguments.data_dir, arguments.seed
    pairs = corpus.pairs(arguments.examples, arguments.image_size, CONTEXT, folder, seed)
    config.model.text.vocab_size = pairs.vocab_size
    random = np.random.default_rng(seed)
    noise = random.standard_normal(pairs.images.shape, np.float32)
    # Uniform words in place of a caption's own; the two last ids are its start and its end.
    words = random.integers(0, pairs.vocab_size - 2, pairs.ids.shape, np.int32)
    words = np.where(pairs.ids < pairs.vocab_size - 2, words, pairs.ids)
    model, few = dual_encoder.make(config), slice(arguments.resnet_examples)
    return {
        "ResNet-50": _resnet({corpus.CORPUS: pairs.images[few], "noise": noise[few]}),
        "image transformer": _image(model, {corpus.CORPUS: pairs.images, "noise": noise}),
        "text transformer": _text(model, {"captions": pairs.ids, "noise": words}),
    }


def draw(encoder: Encoder, seed: int, initialisations: int, bar: progress.Bar) -> dict[str, Drawn]:
    """Each kind of input under each initialisation."""
    found: dict[str, list[tuple[np.ndarray, list[float]]]] = {kind: [] for kind in encoder.inputs}
    root = jax.random.key(seed)
    for k in range(initialisations):
        params = encoder.initialise(jax.random.fold_in(root, k))
        for kind, rows in encoder.inputs.items():
            parts = np.array_split(rows, -(-len(rows) // CHUNK))
            chunks = zip(*(encoder.layers(params, part) for part in parts), strict=True)
            units = [unit_rows(jnp.concatenate(layer), smallest=0.0) for layer in chunks]
            cosines = [float(gap.mean_pairwise_cosine(unit)) for unit in units]
            found[kind].append((np.asarray(units[-1]), cosines))
        bar.advance()
    drawn = {}
    for kind, one in found.items():
        features, by_layer = (np.array(both) for both in zip(*one, strict=True))
        drawn[kind] = Drawn(features, by_layer, encoder.names, encoder.pooled)
    return drawn


def _image(model: nn.Module, inputs: Mapping[str, np.ndarray]) -> Encoder:
    def layers(params: Any, images: Array) -> list[Array]:
        return [
            images.reshape(len(images), -1),
            *_through(model, "image", params, images, pool_class_token),
        ]

    names = ["pixels", *_blocks(model, "image")]
    return _encoder(model, "encode_image", layers, names, "class token", inputs)


def _text(model: nn.Module, inputs: Mapping[str, np.ndarray]) -> Encoder:
    def layers(params: Any, ids: Array) -> list[Array]:
        return _through(model, "text", params, ids, partial(pool_end_of_text, ids=ids))

    names = _blocks(model, "text")
    return _encoder(model, "encode_text", layers, names, "end-of-text token", inputs)


def _resnet(inputs: Mapping[str, np.ndarray]) -> Encoder:
    model = resnet.ResNet(**resnet.RN50, residual_scale=1.0)

    def layers(params: Any, images: Array) -> list[Array]:
        features, seen = _seen(model, "__call__", resnet.Bottleneck, params, images)
        blocks = [
            seen[stage][str(number)]["__call__"][0]
            for stage, count in zip(STAGES, model.layers, strict=True)
            for number in range(count)
        ]
        maps = [seen["stem"][0], *blocks]
        return [images.reshape(len(images), -1), *(x.mean(axis=(1, 2)) for x in maps), features]

    names = ["pixels", "stem", *map(str, range(1, sum(model.layers) + 1)), "features"]
    return _encoder(model, "__call__", layers, names, "mean over the map", inputs)


def _encoder(
    model: nn.Module,
    method: str,
    layers: Callable[[Any, Array], list[Array]],
    names: list[str],
    pooled: str,
    inputs: Mapping[str, np.ndarray],
) -> Encoder:
    one = next(iter(inputs.values()))[:1]
    initialise = jax.jit(lambda key: nn.unbox(model.init(key, one, method=method)["params"]))
    return Encoder(initialise, jax.jit(layers), names, pooled, inputs)


def _blocks(model: nn.Module, modality: str) -> list[str]:
    return ["input", *map(str, range(1, model.config[modality].layers + 1)), "features"]


def _through(
    model: nn.Module, modality: str, params: Any, rows: Array, wanted: Wanted
) -> list[Float[Array, "N W"]]:
    """The token that is wanted before the blocks and after each, and the features."""
    features, seen = _seen(
        model, f"encode_{modality}", (Block, ImageInput, TextInput), params, rows
    )
    first = seen[f"{modality}_input"]["__call__"][0]
    # After all blocks but the last [layers - 1, N, L, W], and after that of the token alone.
    after, last = seen[f"{modality}_transformer"]["blocks"]["__call__"]
    return [*(wanted(block)[:, 0] for block in (first, *after)), last[:, 0], features]


def _seen(
    model: nn.Module, method: str, kept: Any, params: Any, rows: Array
) -> tuple[Float[Array, "N D"], Any]:
    """The model's output, and what modules of the kinds that are kept gave on the way."""

    def keep(module: nn.Module, name: str) -> bool:
        return (isinstance(module, kept) and name == "__call__") or name == "stem"

    features, state = model.apply(
        {"params": params},
        rows,
        method=method,
        capture_intermediates=keep,
        mutable=["intermediates"],
    )
    return features, state["intermediates"]


def _config(arguments: argparse.Namespace) -> ConfigDict:
    config = set_size(configs.default(), arguments.model)
    config.model.image.size = arguments.image_size
    config.model.text.context_length = CONTEXT
    configs.validate(config)
    if arguments.image_size % resnet.REDUCTION:
        raise UsageError(
            f"--image_size={arguments.image_size} must be a multiple of {resnet.REDUCTION}, "
            "which the ResNet-50 needs"
        )
    return config
