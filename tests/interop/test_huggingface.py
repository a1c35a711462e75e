"""transformers with torch itself: our exports are loaded there, its models imported here."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import aligngap
from aligngap.cli import main
from aligngap.data.tokenizers.clip import ClipFast
from aligngap.interop import processor, sources

from small import (
    STRANGE,
    encode,
    features,
    imported,
    ours,
    perturbed,
    random_params,
    same_bits,
    small_config,
    theirs,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("tie", ["none", "transformer", "transformer+projection"])
def test_an_export_embeds_there_as_here(
    tie, pictograms_dir, hold, words, pictures, captions, tmp_path
):
    activation = {} if tie == "none" else {"image.activation": "quick_gelu"}
    config = small_config(pictograms_dir, tie, **activation)
    config.model.text.activation = config.model.image.activation
    folder = hold(config, random_params(config), words)
    output = tmp_path / "out"
    assert (
        main(["export", f"--workdir={folder}", "--format=transformers", f"--output={output}"]) == 0
    )
    model = transformers.CLIPModel.from_pretrained(output).eval()
    prepare = transformers.CLIPProcessor.from_pretrained(output)
    texts = [*captions[:40], *STRANGE]
    expected, found = ours(folder, pictures, texts), theirs(model, prepare, pictures, texts)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert model.logit_scale.item() == float(random_params(config)["logit_scale"])
    card = (output / "README.md").read_text()
    assert "# small" in card and "24 dimensions" in card


def test_both_tokenizers_have_the_same_ids(clip_dir, words, captions, sampled_captions, tmp_path):
    """The trained vocabulary and CLIP's own, on 10,000 captions and strange ones."""
    texts = [*captions, *sampled_captions, *STRANGE]
    assert len(set(texts)) >= 10_000
    clip = ClipFast.make([], 0, clip_dir)
    for name, ours_ in (("trained", words), ("clip", clip)):
        processor.write_tokenizer(ours_, 16, tmp_path / name)
        expected = ours_.encode(texts, 16)
        for cls in (transformers.AutoTokenizer, transformers.CLIPTokenizerFast):
            there = cls.from_pretrained(tmp_path / name)
            found = there(texts, padding="max_length", truncation=True, return_tensors="np")
            np.testing.assert_array_equal(found["input_ids"], expected)


def small_clip(seed=0, activation="quick_gelu", **text):
    torch.manual_seed(seed)
    config = transformers.CLIPConfig(
        vision_config={
            "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
            "num_attention_heads": 4, "image_size": 32, "patch_size": 8, "hidden_act": activation,
        },
        text_config={
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 6, "vocab_size": 640, "max_position_embeddings": 12,
            "hidden_act": activation, "eos_token_id": 639, "bos_token_id": 638, **text,
        },
        projection_dim=24,
    )  # fmt: skip
    return perturbed(transformers.CLIPModel(config).eval())


def save_clip(model, words, folder):
    model.save_pretrained(folder)
    if words:
        prepare = transformers.CLIPProcessor(
            transformers.CLIPImageProcessorPil(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            ),
            tokenizer_of(words, folder / "words"),
        )
        prepare.save_pretrained(folder)


def tokenizer_of(words, folder):
    folder.mkdir()
    processor.write_tokenizer(words, 12, folder)
    return transformers.CLIPTokenizerFast.from_pretrained(folder)


def test_an_import_embeds_here_as_there_and_comes_out_the_same(words, pictures, captions, tmp_path):
    model = small_clip()
    source, workdir, output = tmp_path / "source", tmp_path / "run", tmp_path / "out"
    save_clip(model, words, source)
    assert main(["import", f"--source={source}", f"--workdir={workdir}"]) == 0
    prepare = transformers.CLIPProcessor.from_pretrained(source)
    texts = [*captions[:20], *STRANGE]
    expected, found = theirs(model, prepare, pictures, texts), ours(workdir, pictures, texts)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert (
        main(["export", f"--workdir={workdir}", "--format=transformers", f"--output={output}"]) == 0
    )
    same_bits(*(load_file(folder / "model.safetensors") for folder in (source, output)))
    again = transformers.CLIPConfig.from_pretrained(output).to_dict()
    for section in ("vision_config", "text_config"):
        assert {k: v for k, v in again[section].items() if k != "pad_token_id"} == {
            k: v for k, v in model.config.to_dict()[section].items() if k != "pad_token_id"
        } | {"projection_dim": 24}


def test_clips_vocabulary_goes_with_a_model_of_its_size(clip_dir, tmp_path):
    """The folder has no tokenizer; captions are not cleaned, as transformers does not."""
    source, workdir = tmp_path / "source", tmp_path / "run"
    small_clip(vocab_size=49_408, eos_token_id=49_407, bos_token_id=49_406).save_pretrained(source)
    flags = [f"--source={source}", f"--workdir={workdir}", f"--data_dir={clip_dir}"]
    assert main(["import", *flags]) == 0
    model = aligngap.load(workdir)
    assert model.config.data.tokenizer == "clip_fast"
    assert model.config.name == "source"
    expected = ClipFast.make([], 0, clip_dir).encode(STRANGE, 12)
    np.testing.assert_array_equal(model.tokenizer.encode(STRANGE, 12), expected)


def test_another_resolution(words, tmp_path):
    """Positions are resampled (test_positions.py) where the command gives another size."""
    save_clip(small_clip(), words, tmp_path / "source")
    model, params = imported(tmp_path / "source", "--config.model.image.size=64")
    assert params["image_input"]["positions"].shape == (65, 64)
    pixels = np.zeros((1, 64, 64, 3), np.float32)
    image, _ = encode(model, params, pixels, words.encode(["a cat"], 12))
    assert np.isfinite(image).all()


def test_shards_are_one_model(tmp_path):
    model = small_clip()
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    model.save_pretrained(tmp_path / "whole")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    one, other = sources.find(tmp_path / "shards"), sources.find(tmp_path / "whole")
    assert one.tensors.keys() == other.tensors.keys()
    for name, array in one.tensors.items():
        np.testing.assert_array_equal(array, other.tensors[name])


def test_a_b32_clip(tmp_path, captions):
    """The published shape, as it is initialised there."""
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    model.save_pretrained(tmp_path)
    random = np.random.default_rng(0)
    pixels = random.normal(size=(2, 224, 224, 3)).astype(np.float32)
    ids = random.integers(1, 49_406, size=(2, 77)).astype(np.int32)
    ids[0, 9:], ids[1, 76:] = 49_407, 49_407
    found = encode(*imported(tmp_path), pixels, ids)
    for a, b in zip(found, features(model, pixels, ids), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
