"""big_vision's names, and the same model as SiglipModel has it."""

import numpy as np
import pytest

from small import encode, features, imported, small_siglip

pytest.importorskip("torch")
pytest.importorskip("transformers")

WIDTH, HEADS = 48, 6


def attention(prefix, weights):
    """{prefix}query/kernel [W, H, d] and so on, from torch's [3·W, W]."""
    found = {}
    for i, name in enumerate(("query", "key", "value")):
        weight, bias = (np.split(w, 3)[i] for w in weights[:2])
        found[f"{prefix}{name}/kernel"] = weight.T.reshape(WIDTH, HEADS, -1)
        found[f"{prefix}{name}/bias"] = bias.reshape(HEADS, -1)
    found[f"{prefix}out/kernel"] = weights[2].T.reshape(HEADS, -1, WIDTH)
    return found | {f"{prefix}out/bias": weights[3]}


def dense(prefix, state, source):
    return {
        f"{prefix}/kernel": state[f"{source}.weight"].T,
        f"{prefix}/bias": state[f"{source}.bias"],
    }


def norm(prefix, state, source):
    return {
        f"{prefix}/scale": state[f"{source}.weight"],
        f"{prefix}/bias": state[f"{source}.bias"],
    }


def block(prefix, state, source):
    qkv = [
        np.concatenate([state[f"{source}.self_attn.{p}_proj.{kind}"] for p in "qkv"])
        for kind in ("weight", "bias")
    ]
    out = [state[f"{source}.self_attn.out_proj.{kind}"] for kind in ("weight", "bias")]
    return {
        **attention(f"{prefix}MultiHeadDotProductAttention_0/", [*qkv, *out]),
        **norm(f"{prefix}LayerNorm_0", state, f"{source}.layer_norm1"),
        **norm(f"{prefix}LayerNorm_1", state, f"{source}.layer_norm2"),
        **dense(f"{prefix}MlpBlock_0/Dense_0", state, f"{source}.mlp.fc1"),
        **dense(f"{prefix}MlpBlock_0/Dense_1", state, f"{source}.mlp.fc2"),
    }


def as_big_vision(model, scanned):
    """The parameters of a SiglipModel under big_vision's names, shapes as Flax makes them."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    image, text, head = "vision_model", "text_model", "vision_model.head"
    pooled = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    patches = state[f"{image}.embeddings.patch_embedding.weight"]
    found = {
        "img/embedding/kernel": patches.transpose(2, 3, 1, 0),
        "img/embedding/bias": state[f"{image}.embeddings.patch_embedding.bias"],
        "img/pos_embedding": state[f"{image}.embeddings.position_embedding.weight"][None],
        "img/MAPHead_0/probe": state[f"{head}.probe"],
        **attention(
            "img/MAPHead_0/MultiHeadDotProductAttention_0/",
            [state[f"{head}.attention.{name}"] for name in pooled],
        ),
        **norm("img/MAPHead_0/LayerNorm_0", state, f"{head}.layernorm"),
        **dense("img/MAPHead_0/MlpBlock_0/Dense_0", state, f"{head}.mlp.fc1"),
        **dense("img/MAPHead_0/MlpBlock_0/Dense_1", state, f"{head}.mlp.fc2"),
        **norm("img/Transformer/encoder_norm", state, f"{image}.post_layernorm"),
        "txt/Embed_0/embedding": state[f"{text}.embeddings.token_embedding.weight"],
        "txt/pos_embedding": state[f"{text}.embeddings.position_embedding.weight"][None],
        **norm("txt/Encoder_0/encoder_norm", state, f"{text}.final_layer_norm"),
        **dense("txt/head", state, f"{text}.head"),
        "t": state["logit_scale"],
        "b": state["logit_bias"],
    }
    towers = (("img/Transformer/", image, 2), ("txt/Encoder_0/", text, 3))
    for prefix, tower, layers in towers:
        blocks = [block("", state, f"{tower}.encoder.layers.{i}") for i in range(layers)]
        for name in blocks[0]:
            arrays = [one[name] for one in blocks]
            if scanned:
                found[f"{prefix}encoderblock/{name}"] = np.stack(arrays)
            else:
                found |= {f"{prefix}encoderblock_{i}/{name}": a for i, a in enumerate(arrays)}
    return found


@pytest.mark.parametrize(("scanned", "prefix"), [(False, "params/"), (True, "")])
def test_a_two_tower_file_embeds_as_its_siglip_model(scanned, prefix, tmp_path):
    model = small_siglip()
    arrays = {f"{prefix}{n}": a for n, a in as_big_vision(model, scanned).items()}
    if prefix:
        arrays["opt/count"] = np.zeros(())
    np.savez(tmp_path / "siglip.npz", **arrays)
    random = np.random.default_rng(0)
    pixels = random.normal(size=(5, 32, 32, 3)).astype(np.float32)
    ids = random.integers(0, 99, size=(5, 10)).astype(np.int32)
    found = encode(*imported(tmp_path / "siglip.npz"), pixels, ids)
    for a, b in zip(found, features(model, pixels, ids), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
