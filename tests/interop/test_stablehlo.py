"""The StableHLO exports, loaded by a process in which nothing but jax can be imported."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from aligngap.cli import main
from aligngap.config import CLIP_VOCABULARY
from aligngap.data import images
from aligngap.data.tokenizers.clip import Clip
from aligngap.data.tokenizers.siglip import Siglip
from aligngap.models import dual_encoder, towers
from aligngap.presets import SIGLIP_TOWERS

from small import STRANGE, encode, random_params, small_config

SCRIPT = Path(__file__).parent / "in_jax.py"
SIGLIP = {**SIGLIP_TOWERS, "logit_bias": True, "scale_form": "softplus", "embed_dim": 64}
VARIANTS = {
    "towers": ("none", "float32", {"image.activation": "quick_gelu", "scan": True}),
    "tied": ("transformer+projection", "bfloat16", {"remat": "block"}),
    "siglip": ("none", "float32", SIGLIP),
    "resnet": (
        "none",
        "float32",
        {
            **{"image.stages": (1, 2, 1, 1), "image.width": 8, "image.heads": 4},
            **{"image.patch_size": 32, "image.projection": "none"},
        },
    ),
}
pytestmark = pytest.mark.corpus


def export(folder, output):
    return main(["export", f"--workdir={folder}", "--format=stablehlo", f"--output={output}"])


@pytest.fixture
def exported(pictograms_dir, hold, words, tmp_path):
    """(name of a variant) → its config and the folder of its export."""

    def make(name):
        tie, dtype, fields = VARIANTS[name]
        config = small_config(pictograms_dir, tie, **fields)
        config.compute_dtype = dtype
        output = tmp_path / f"{name}_out"
        assert export(hold(config, random_params(config), words, name), output) == 0
        return config, output

    return make


def test_jax_alone_embeds_as_we_do(exported, words, pictures, captions):
    """jax is started once, for all of them. Batches of 1 and of 7."""
    texts = [*captions[: 29 - len(STRANGE)], *STRANGE]
    pixels = np.stack([images.resize(picture, 32) for picture in (*pictures, *pictures[:3])])
    ids, wanted, outputs = words.encode(texts, 12), {}, {}
    for name in VARIANTS:
        config, outputs[name] = exported(name)
        np.savez(outputs[name] / "given.npz", pixels=pixels, ids=ids)
        config.compute_dtype = "float32"
        normal = towers.normalise(pixels, config.data.mean, config.data.std)
        model = dual_encoder.make(config)
        wanted[name] = encode(model, random_params(config), normal, ids)
    alone = {"JAX_PLATFORMS": "cpu", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", SCRIPT, *outputs.values()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=alone)
    assert done.returncode == 0, done.stderr
    for name, (image, text) in wanted.items():
        found = np.load(outputs[name] / "found.npz")
        np.testing.assert_allclose(found["image"], image, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found["text"], text, atol=1e-5, err_msg=name)
        assert found["shapes"].tolist() == 2 * [[7, image.shape[1]]]
    assert done.stdout.count("[[") == len(VARIANTS)  # The snippet prints its logits.


@pytest.mark.parametrize("name", ["tied", "siglip"])
def test_what_a_program_needs_and_what_stands_beside_it(name, exported, words):
    config, output = exported(name)
    programs = {}
    for modality, shape in (("image", "(batch, 32, 32, 3)"), ("text", "(batch, 12)")):
        file = output / f"{modality}.stablehlo"
        program = programs[modality] = jax.export.deserialize(file.read_bytes())
        assert program.platforms == ("cpu", "cuda", "tpu")
        assert program.nr_devices == 1
        assert str(program.in_avals[-1].shape) == shape
        assert program.out_avals[0].dtype == np.float32
        calls = set(re.findall(r"custom_call @([\w$.]+)", program.mlir_module()))
        assert calls <= {"shape_assertion"}
        products = re.findall(r"dot_general .*", program.mlir_module())
        assert products and all("[HIGHEST, HIGHEST]" in product for product in products)
    beside = json.loads((output / "preprocessing.json").read_text())
    params = random_params(config)
    scale, bias = dual_encoder.make(config).apply({"params": params}, method="scale_and_bias")
    assert beside["logits"] == {"scale": float(scale), "bias": float(bias or 0)}
    assert beside["image"]["shape"] == ["batch", 32, 32, 3]
    special = [beside["text"][f"{name}_id"] for name in ("start", "end", "padding")]
    assert special == [638, 639, 639]
    parameters = dict(np.load(output / "parameters.npz"))
    assert np.isnan(programs["text"].call(parameters, np.full((1, 12), 640, np.int32))).all()
    back = output.with_name("back")
    assert main(["import", f"--source={output}", f"--workdir={back}"]) == 0
    assert (output / "tokenizer.json").exists()


@pytest.mark.parametrize("kind", ["trained", "clip", "siglip"])
def test_the_cards_pixels_and_ids(
    kind, pictograms_dir, clip_dir, spiece_dir, hold, words, pictures, captions, tmp_path
):
    """Its second snippet, run here: pixel by pixel and id by id those of `aligngap embed`."""
    config = small_config(pictograms_dir, "transformer+projection")
    config.data.tokenizer = kind
    if kind == "clip":
        words = Clip.make([], 0, clip_dir)
        config.model.text.vocab_size = CLIP_VOCABULARY
    if kind == "siglip":
        words = Siglip.load(spiece_dir)
        config.model.text.update(vocab_size=1000, pooling="last")
        config.data.resize = "squash"
    folder, output = hold(config, random_params(config), words), tmp_path / "out"
    assert export(folder, output) == 0
    snippet = re.findall("```python\n(.*?)```", (output / "README.md").read_text(), re.DOTALL)
    names, code = {"np": np}, snippet[1]
    for file in ("tokenizer.json", "spiece.model"):
        code = code.replace(f'"{file}"', repr(str(output / file)))
    exec(code, names)
    texts = [*captions[:300], *STRANGE]
    np.testing.assert_array_equal(names["ids_of"](texts), words.encode(texts, 12))
    squares = [(picture, {}) for picture in pictures]
    others = [(pictures[0].resize((47, 90)), {}), (pictures[1].resize((101, 33)), {})]
    colours = [(pictures[2].convert("P"), {"transparency": 3}), (pictures[3], {})]
    colours += [(pictures[4], {"transparency": pictures[4].getpixel((0, 0))})]
    for picture, options in [*squares, *others, *colours]:
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        wanted = images.RESIZES[config.data.resize](images.decode(file.getvalue()), 32)
        np.testing.assert_array_equal(names["pixels_of"](file), wanted)
    beside = json.loads((output / "preprocessing.json").read_text())
    assert beside["text"]["padding_id"] == words.end_id
    assert ("both_sides" in beside["image"]["resize"]) == (kind == "siglip")


def test_without_a_tokenizer(pictograms_dir, hold, tmp_path):
    config = small_config(pictograms_dir, "transformer+projection")
    assert export(hold(config, random_params(config)), tmp_path / "out") == 0
    assert (
        json.loads((tmp_path / "out/preprocessing.json").read_text())["text"]["tokenizer"] is None
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "ids = np.zeros((7, 12), np.int32)" in card and "tokenizers" not in card
    assert not (tmp_path / "out" / "tokenizer.json").exists()
