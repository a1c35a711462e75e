"""open_clip's layout and, where its environment has been made, open_clip itself."""

import io
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

import aligngap
from aligngap.cli import main
from aligngap.data import images
from aligngap.models import towers

from small import (
    STRANGE,
    encode,
    imported,
    ours,
    random_params,
    same_bits,
    small_config,
)

ROOT = Path(__file__).parents[2]
THERE = ROOT / ".venv-open_clip" / "bin" / "python"  # launch/test.sh makes it.
RESNET = {
    **{"image.stages": (1, 2, 1, 1), "image.width": 8, "image.heads": 4, "image.patch_size": 32},
    **{"image.projection": "none", "text.activation": "quick_gelu"},
}
# open_clip cleans captions before every tokenizer; these then have other tokens.
CLEANED_THERE = ("&amp; &lt;b&gt;", "don’t “quote”", "Ã©", "Ünïcödé ＦＵＬＬ")
pytestmark = pytest.mark.corpus


def export(folder, output):
    assert main(["export", f"--workdir={folder}", "--format=open_clip", f"--output={output}"]) == 0


VARIANTS = {
    "towers": ("none", {f"{m}.activation": "quick_gelu" for m in ("image", "text")}),
    "tied": ("transformer+projection", {f"{m}.mlp_ratio": 2.1 for m in ("image", "text")}),
    "options": (
        "transformer",
        {
            **{"text.causal": False, "text.pooling": "last", "text.projection": "affine"},
            **{"image.input_norm": False, "logit_bias": True},
            **{f"{m}.activation": "gelu_tanh" for m in ("image", "text")},
            **{f"{m}.norm_eps": 1e-3 for m in ("image", "text")},
        },
    ),
    "resnet": ("none", RESNET),
}


@pytest.mark.skipif(not THERE.exists(), reason="no .venv-open_clip; launch/test.sh makes it")
def test_exports_embed_there_as_here(pictograms_dir, hold, words, pictures, captions, tmp_path):
    """open_clip is started once, for all of them."""
    texts = [*captions[:40], *(text for text in STRANGE if text not in CLEANED_THERE)]
    pictures = [*pictures, pictures[0].resize((96, 64)), pictures[1].resize((64, 160))]
    files, wanted, normal = png(pictures), {}, {}
    for name, (tie, fields) in VARIANTS.items():
        config = small_config(pictograms_dir, tie, **fields)
        config.data.resize = "squash" if name == "options" else "crop"
        folder, output = hold(config, random_params(config), words, name), tmp_path / f"{name}_out"
        export(folder, output)
        resize = images.RESIZES[config.data.resize]
        pixels = np.stack([resize(picture, 32) for picture in pictures])
        normal[name] = np.asarray(towers.normalise(pixels, config.data.mean, config.data.std))
        ids = words.encode(texts, 12)
        np.savez(output / "given.npz", pixels=normal[name], ids=ids, texts=texts, **files)
        wanted[name] = ours(folder, pictures, texts)
    outputs = [tmp_path / f"{name}_out" for name in VARIANTS]
    script = ROOT / "tests" / "interop" / "in_open_clip.py"
    done = subprocess.run([THERE, script, *outputs], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name, (image, text) in wanted.items():
        found = np.load(tmp_path / f"{name}_out" / "found.npz")
        np.testing.assert_allclose(found["image"], image, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found["text"], text, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found["pixels"], normal[name], atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(found["tokens"], ids, err_msg=name)


@pytest.mark.parametrize("name", VARIANTS)
def test_out_and_in_and_out_again(name, pictograms_dir, hold, tmp_path):
    tie, fields = VARIANTS[name]
    tensors, _ = state_dict(pictograms_dir, hold, tmp_path, tie, **fields)
    back, again = tmp_path / "back", tmp_path / "again"
    assert main(["import", f"--source={tmp_path / 'out'}", f"--workdir={back}"]) == 0
    export(back, again)
    same_bits(tensors, load_file(again / "open_clip_model.safetensors"))
    settings = [(tmp_path / out / "open_clip_config.json").read_text() for out in ("out", "again")]
    assert settings[0] == settings[1]


def png(pictures):
    found = {"files": len(pictures)}
    for i, picture in enumerate(pictures):
        file = io.BytesIO()
        picture.save(file, "PNG")
        found[f"png/{i}"] = np.frombuffer(file.getvalue(), np.uint8)
    return found


def state_dict(pictograms_dir, hold, tmp_path, tie="none", **fields):
    """The tensors of an export, under open_clip's names, and the workdir that they are of."""
    config = small_config(pictograms_dir, tie, **fields)
    config.data.resize = "squash" if config.model.text.pooling == "last" else "crop"
    folder = hold(config, random_params(config))
    export(folder, tmp_path / "out")
    return load_file(tmp_path / "out" / "open_clip_model.safetensors"), folder


def test_a_bare_state_dict_needs_no_config(pictograms_dir, hold, tmp_path):
    """As training scripts save it: in a wrapper, each name with "module." before it."""
    torch = pytest.importorskip("torch")
    tensors, _ = state_dict(pictograms_dir, hold, tmp_path)
    wrapped = {f"module.{name}": torch.tensor(array) for name, array in tensors.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": wrapped}, tmp_path / "model.pt")
    flags = ["--config.model.image.heads=4", "--config.model.text.heads=6"]
    back = tmp_path / "back"
    assert main(["import", f"--source={tmp_path / 'model.pt'}", f"--workdir={back}", *flags]) == 0
    export(back, tmp_path / "again")
    same_bits(tensors, load_file(tmp_path / "again" / "open_clip_model.safetensors"))


def test_a_resnets_state_dict(pictograms_dir, hold, tmp_path):
    """As OpenAI's RN50 lies: counters beside its statistics, no config."""
    tensors, folder = state_dict(pictograms_dir, hold, tmp_path, **RESNET)
    assert {"visual.layer2.1.bn3.running_var", "visual.attnpool.c_proj.bias"} <= tensors.keys()
    counted = tensors | {"visual.bn1.num_batches_tracked": np.array(5)}
    save_file(counted, tmp_path / "rn.safetensors")
    model, params = imported(tmp_path / "rn.safetensors", "--config.model.text.heads=6")
    assert model.config.image.stages == (1, 2, 1, 1)
    same_bits(
        *(flatten_dict(p, sep="/") for p in (params, jax.device_get(aligngap.load(folder).params)))
    )


def test_custom_text_names(pictograms_dir, hold, tmp_path):
    """open_clip's other class keeps the text tower under "text."."""
    tensors, _ = state_dict(pictograms_dir, hold, tmp_path)
    visual = ("visual.", "logit_")
    renamed = {n if n.startswith(visual) else f"text.{n}": a for n, a in tensors.items()}
    save_file(renamed, tmp_path / "custom.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    (_, custom), (_, plain) = (imported(tmp_path / f"{n}.safetensors") for n in ("custom", "plain"))
    np.testing.assert_array_equal(
        custom["text_input"]["tokens"]["embedding"], plain["text_input"]["tokens"]["embedding"]
    )


def test_alignclips_own_checkpoint(pictograms_dir, hold, tmp_path, words):
    """Its names, written out by hand; embeddings as the model they are of."""
    torch = pytest.importorskip("torch")
    config = small_config(pictograms_dir, "transformer+projection")
    for modality in ("image", "text"):
        config.model[modality].update(width=128, heads=2)
    params = random_params(config)
    blocks, state = params["transformer"]["blocks"], {}
    for layer in range(2):
        prefix = f"transformer.resblocks.{layer}."
        for ours_, theirs_ in (("attention_norm", "ln_1"), ("mlp_norm", "ln_2")):
            state[f"{prefix}{theirs_}.weight"] = blocks[ours_]["scale"][layer]
            state[f"{prefix}{theirs_}.bias"] = blocks[ours_]["bias"][layer]
        qkv, out = blocks["attention"]["qkv"], blocks["attention"]["output"]
        state[f"{prefix}attn.in_proj_weight"] = qkv["kernel"][layer].reshape(128, -1).T
        state[f"{prefix}attn.in_proj_bias"] = qkv["bias"][layer].reshape(-1)
        state[f"{prefix}attn.out_proj.weight"] = out["kernel"][layer].reshape(-1, 128).T
        state[f"{prefix}attn.out_proj.bias"] = out["bias"][layer]
        for ours_, theirs_ in (("hidden", "c_fc"), ("output", "c_proj")):
            state[f"{prefix}mlp.{theirs_}.weight"] = blocks["mlp"][ours_]["kernel"][layer].T
            state[f"{prefix}mlp.{theirs_}.bias"] = blocks["mlp"][ours_]["bias"][layer]
    image, text, final = (params[k] for k in ("image_input", "text_input", "transformer"))
    state |= {
        "visual.conv1.weight": image["patch_kernel"].reshape(8, 8, 3, 128).transpose(3, 2, 0, 1),
        "visual.class_embedding": image["class_token"],
        "visual.positional_embedding": image["positions"],
        "visual.ln_pre.weight": image["input_norm"]["scale"],
        "visual.ln_pre.bias": image["input_norm"]["bias"],
        "text.token_embedding.weight": text["tokens"]["embedding"],
        "text.positional_embedding": text["positions"],
        "text.text_projection": np.zeros((128, 24), np.float32),
        "ln_post.weight": final["final_norm"]["scale"],
        "ln_post.bias": final["final_norm"]["bias"],
        "projection": params["projection"]["kernel"],
        "logit_scale": params["logit_scale"],
    }
    tensors = {f"module.{k}": torch.tensor(np.array(v)) for k, v in state.items()}
    torch.save({"state_dict": tensors, "epoch": 30}, tmp_path / "epoch_30.pt")
    model, found = imported(tmp_path / "epoch_30.pt")
    assert model.config.tie == "transformer+projection"
    pixels = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    ids = words.encode(["a cat", "dog, pet", ""], 12)
    expected = encode(model, params, pixels, ids)
    for a, b in zip(encode(model, found, pixels, ids), expected, strict=True):
        np.testing.assert_array_equal(a, b)
