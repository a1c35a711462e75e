"""Small models with every parameter random, and embeddings of them here and there."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import aligngap
from aligngap.config import default, tower
from aligngap.data import images
from aligngap.interop import importing, sources
from aligngap.models import dual_encoder, parameters, towers

STRANGE = [
    "", " \n ", "😀👩‍🚀🏳️‍🌈", "Crème brûlée, naïve café", "Ünïcödé ＦＵＬＬ", "日本語 テスト",
    "a<|endoftext|> b", "<|startoftext|><|endoftext|>", "it's we'll 'S", "don’t “quote”",
    "x" * 300, "cat " * 200, "1234567890 3.14", "tab\tnew\nline", "&amp; &lt;b&gt;", "Ã©",
    "ΣΊΣΥΦΟΣ",
]  # fmt: skip


def small_config(pictograms_dir, tie="none", **model):
    config = default()
    config.name = "small"
    config.data.data_dir = str(pictograms_dir)
    config.data.mean, config.data.std = (0.8, 0.78, 0.76), (0.3, 0.3, 0.33)
    config.model.tie = tie
    config.model.embed_dim = 24
    config.model.image.update(tower(64, 2, 4, 2.0), size=32, patch_size=8)
    text = tower(64, 2, 4, 2.0) if tie != "none" else tower(48, 3, 6, 3.0)
    config.model.text.update(text, context_length=12, vocab_size=640)
    config.model.update_from_flattened_dict(model)
    return config


def random_params(config, seed=0):
    """Random everywhere, biases and norms too, so that no term is hidden by a zero or a one."""
    shapes = nn.unbox(parameters.abstract(config, dual_encoder.make(config)))
    random = np.random.default_rng(seed)

    def value(path, p):
        drawn = random.normal(0.05, 0.2, p.shape)
        positive = path[-1].key == "var"  # A variance.
        return jnp.asarray(np.abs(drawn) + 0.1 if positive else drawn, jnp.float32)

    return jax.tree.map_with_path(value, shapes)


def ours(folder: Path, pictures, texts):
    """Embeddings of images and captions by the model of a workdir, as `evaluate` makes them."""
    model = aligngap.load(folder)
    data = model.config.data
    size = model.config.model.image.size
    resize = images.RESIZES[data.resize]
    pixels = np.stack([resize(picture, size) for picture in pictures])
    ids = model.tokenizer.encode(texts, model.config.model.text.context_length)
    return encode(model.module, model.params, towers.normalise(pixels, data.mean, data.std), ids)


def encode(model, params, pixels, ids):
    with jax.default_matmul_precision("highest"):
        image, text = jax.jit(lambda p, x, i: model.apply({"params": p}, x, i, method="encode"))(
            params, pixels, ids
        )
    return np.asarray(image), np.asarray(text)


def unit(tensor) -> np.ndarray:
    return (tensor / tensor.norm(dim=-1, keepdim=True)).detach().numpy()


def theirs(model, processor, pictures, texts):
    """Embeddings by a model of transformers, its own processor before it."""
    import torch

    inputs = processor(
        text=texts, images=pictures, padding="max_length", truncation=True, return_tensors="pt"
    )
    # Of SigLIP the padding is read too.
    mask = {"attention_mask": inputs["attention_mask"]} if "attention_mask" in inputs else {}
    with torch.no_grad():
        image = model.get_image_features(inputs["pixel_values"]).pooler_output
        text = model.get_text_features(inputs["input_ids"], **mask).pooler_output
    return unit(image), unit(text)


def features(model, pixels, ids):
    """Embeddings by a model of transformers of pixels [N, R, R, 3] and of ids [C, L]."""
    import torch

    with torch.no_grad():
        image = model.get_image_features(torch.tensor(pixels).permute(0, 3, 1, 2)).pooler_output
        text = model.get_text_features(torch.tensor(ids)).pooler_output
    return unit(image), unit(text)


def imported(source: Path, *overrides):
    """A source's model in memory, without a workdir: (module, params)."""
    found = sources.find(source)
    config = importing.config_of(found, overrides, "")
    return dual_encoder.make(config), importing.params_of(found, config)


def same_bits(one, other):
    """Both hold the same tensors, bit for bit."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array.view(np.uint32), other[name].view(np.uint32), name)


def perturbed(model):
    """Norms and biases away from ones and zeros, so that a swap of two would be seen."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def small_siglip(vocab_size=99):
    """A SiglipModel of transformers: width 48, 6 heads; 2 layers for images, 3 for texts."""
    import torch
    import transformers

    torch.manual_seed(1)
    tower = {"hidden_size": 48, "intermediate_size": 100, "num_attention_heads": 6}
    config = transformers.SiglipConfig(
        vision_config=tower | {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
        text_config=tower
        | {"num_hidden_layers": 3, "vocab_size": vocab_size, "max_position_embeddings": 10},
    )
    return perturbed(transformers.SiglipModel(config).eval())
