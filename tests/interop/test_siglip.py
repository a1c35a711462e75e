"""SigLIP of transformers as a user brings it: its weights, its words, its pixels."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import aligngap
from aligngap.cli import main
from aligngap.data import images
from aligngap.models import dual_encoder
from aligngap.parallel import mesh as meshes
from aligngap.runs import initial
from aligngap.runs import workdir as workdirs

from small import (
    STRANGE,
    ours,
    random_params,
    same_bits,
    small_config,
    small_siglip,
    theirs,
)

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.corpus
SIDE, LENGTH = 32, 10


@pytest.fixture(scope="module")
def model():
    return small_siglip(1000)


@pytest.fixture(scope="module")
def saved(model, spiece_dir, tmp_path_factory):
    """As its authors would publish it."""
    folder = tmp_path_factory.mktemp("siglip")
    model.save_pretrained(folder)
    words = transformers.SiglipTokenizer(
        str(spiece_dir / "spiece.model"), model_max_length=LENGTH, split_special_tokens=True
    )
    pixels = transformers.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    transformers.SiglipProcessor(pixels, words).save_pretrained(folder)
    # So the published ones have it: SigLIP reads its padding.
    edit(folder / "tokenizer_config.json", model_input_names=["input_ids"])
    return folder


@pytest.fixture
def source(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "source")


@pytest.fixture(scope="module")
def workdir(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported") / "run"
    assert main(["import", f"--source={saved}", f"--workdir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def drawn(pictures):
    """Of any shape: squashing and cropping would differ."""
    shapes = [(64, 64), (90, 47), (33, 101), (20, 31)]
    return [picture.resize(shapes[i % 4]) for i, picture in enumerate(pictures)]


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def export(folder, form, output):
    assert main(["export", f"--workdir={folder}", f"--format={form}", f"--output={output}"]) == 0


def test_files_of_images_and_texts_embed_here_as_there(
    model, saved, workdir, spiece_dir, drawn, captions, tmp_path
):
    config = aligngap.load(workdir).config
    assert (config.data.tokenizer, config.data.resize) == ("siglip", "squash")
    kept = (workdir / "tokenizer" / "spiece.model").read_bytes()
    assert kept == (spiece_dir / "spiece.model").read_bytes()
    texts = [*captions[::100], "a </s> b", "😀 Crème, brûlée!", "cat " * 50]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    for i, picture in enumerate(drawn):
        (tmp_path / "images").mkdir(exist_ok=True)
        picture.save(tmp_path / "images" / f"{i:02}.png")
    flags = [f"--images={tmp_path}/images", f"--texts={tmp_path}/texts.txt"]
    assert main(["embed", f"--workdir={workdir}", f"--output={tmp_path}/out", *flags]) == 0
    found = [np.load(tmp_path / "out" / f"{name}.npy") for name in ("image", "text")]
    prepare = transformers.SiglipProcessor.from_pretrained(saved)
    for a, b in zip(found, theirs(model, prepare, drawn, texts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_it_comes_out_as_it_came_in(model, saved, workdir, drawn, captions, tmp_path):
    output = tmp_path / "out"
    export(workdir, "transformers", output)
    same_bits(*(load_file(folder / "model.safetensors") for folder in (saved, output)))
    again = transformers.SiglipModel.from_pretrained(output).eval()
    assert again.config.text_config.eos_token_id == again.config.text_config.pad_token_id == 1
    prepare = transformers.AutoProcessor.from_pretrained(output)
    assert isinstance(prepare, transformers.SiglipProcessor)
    texts = [*captions[:40], *STRANGE, "a </s> b"]
    for a, b in zip(theirs(again, prepare, drawn, texts), ours(workdir, drawn, texts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_relative_bias_is_made_of_theirs_and_given_back_as_theirs(saved, workdir, hold, tmp_path):
    """r = −b/s here, b = −s·r there."""
    config = workdirs.read_config(workdir)
    config.init_from = str(workdir)
    config.objective.update(contrastive_weight=0.0, sigmoid_weight=1.0)
    config.model.update(bias_form="relative", bias_init=0.0)
    module, mesh = dual_encoder.make(config), meshes.make(config)
    params = initial.params(config, module, mesh, initial.find(config))
    published = load_file(saved / "model.safetensors")
    threshold = -published["logit_bias"] / np.exp(published["logit_scale"])
    np.testing.assert_allclose(params["logit_bias"], threshold.item(), rtol=1e-5)
    export(hold(config, params), "transformers", tmp_path / "out")
    again = load_file(tmp_path / "out" / "model.safetensors")
    assert again.keys() == published.keys()
    for name, tensor in again.items():
        np.testing.assert_allclose(tensor, published[name], rtol=1e-5, err_msg=name)


def test_npz_out_and_in(workdir, drawn, captions, tmp_path):
    export(workdir, "npz", tmp_path / "out")
    back = tmp_path / "back"
    assert main(["import", f"--source={tmp_path / 'out'}", f"--workdir={back}"]) == 0
    given = (drawn, captions[:10])
    for a, b in zip(ours(workdir, *given), ours(back, *given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_words_or_processor_it_is_still_a_siglip(model, workdir, tmp_path, capsys):
    source, run = tmp_path / "source", tmp_path / "run"
    model.save_pretrained(source)
    assert main(["import", f"--source={source}", f"--workdir={run}"]) == 0
    assert "no tokenizer was imported: the source has none of" in capsys.readouterr().out
    found, whole = aligngap.load(run), aligngap.load(workdir)
    assert found.tokenizer is None
    for name in ("resize", "mean", "std"):
        assert found.config.data[name] == whole.config.data[name]
    (tmp_path / "texts.txt").write_text("a cat")
    flags = [f"--texts={tmp_path}/texts.txt", f"--output={tmp_path}/out"]
    assert main(["embed", f"--workdir={run}", *flags]) == 1
    assert "imported without a tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fields",
    [{"tokenizer_class": "T5Tokenizer"}, {"pad_token": "<pad>"}, {"do_lower_case": False}],
)
def test_words_of_another_form_are_left_out(fields, source, tmp_path, capsys):
    edit(source / "tokenizer_config.json", **fields)
    assert main(["import", f"--source={source}", f"--workdir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out
    assert f"no tokenizer was imported: {next(iter(fields))} of its tokenizer_config.json" in said
    assert aligngap.load(tmp_path / "run").tokenizer is None


def test_the_users_word_is_checked_too(source, tmp_path, capsys):
    flags = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    assert main(["import", *flags, "--config.data.tokenizer=trained"]) == 2
    assert "data.tokenizer=trained is none of the form" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_clips_vocabulary_is_not_lent_to_what_reads_its_padding(clip_dir, tmp_path, capsys):
    small_siglip(49_408).save_pretrained(tmp_path / "source")
    flags = [f"--source={tmp_path / 'source'}", f"--data_dir={clip_dir}"]
    assert main(["import", *flags, f"--workdir={tmp_path / 'run'}"]) == 0
    assert "no tokenizer was imported" in capsys.readouterr().out
    clip = "--config.data.tokenizer=clip"
    assert main(["import", *flags, f"--workdir={tmp_path / 'clip'}", clip]) == 0
    assert "no tokenizer was imported" in capsys.readouterr().out


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_words_of_clips_form_need_its_padding(pad, saved, words, source, tmp_path, capsys):
    """Texts are pooled at the last token, which for most captions is padding."""
    from aligngap.interop import processor

    (source / "spiece.model").unlink()
    processor.write_tokenizer(words, LENGTH, source)
    edit(source / "tokenizer_config.json", pad_token=pad)
    assert main(["import", f"--source={source}", f"--workdir={tmp_path / 'run'}"]) == 0
    found = aligngap.load(tmp_path / "run").tokenizer
    if pad == "<|endoftext|>":
        assert found.fingerprint == words.fingerprint
    else:
        assert found is None
        assert "texts are pooled at the last token, and it pads with '!'" in capsys.readouterr().out


def test_a_clip_has_no_use_for_siglips_words(
    pictograms_dir, hold, spiece_dir, words, tmp_path, capsys
):
    folder = hold(config := small_config(pictograms_dir), random_params(config), words)
    export(folder, "transformers", tmp_path / "clip")
    shutil.copy(spiece_dir / "spiece.model", tmp_path / "clip")
    (tmp_path / "clip" / "tokenizer_config.json").unlink()
    assert main(["import", f"--source={tmp_path / 'clip'}", f"--workdir={tmp_path / 'run'}"]) == 1
    assert "model.text.pooling=end_of_text does not fit" in capsys.readouterr().err


def test_a_damaged_vocabulary(source, tmp_path, capsys):
    content = (source / "spiece.model").read_bytes()
    (source / "spiece.model").write_bytes(content[:1000])
    assert main(["import", f"--source={source}", f"--workdir={tmp_path / 'run'}"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("aligngap: ") and "spiece.model is damaged" in line
    assert not (tmp_path / "run").exists()


def test_what_is_not_as_there_is_said(source, tmp_path, capsys):
    name = "processor_config.json"
    settings = json.loads((source / name).read_text())
    edit(source / name, image_processor=settings["image_processor"] | {"resample": 2})
    edit(source / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    assert main(["import", f"--source={source}", f"--workdir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out
    assert "Note: it resizes images with filter 2; here it is bicubic (3)" in said
    assert "Note: transformers hides the padding of texts unless" in said


@pytest.mark.parametrize("resize", images.RESIZES)
def test_a_clip_that_squashes(resize, pictograms_dir, hold, words, drawn, captions, tmp_path):
    """CLIPImageProcessor can say so, and says it back."""
    config = small_config(pictograms_dir)
    config.data.resize = resize
    folder, output, back = (tmp_path / name for name in ("held", "out", "back"))
    hold(config, random_params(config), words)
    export(folder, "transformers", output)
    there = transformers.CLIPModel.from_pretrained(output).eval()
    prepare = transformers.AutoProcessor.from_pretrained(output)
    texts = captions[:5]
    for a, b in zip(theirs(there, prepare, drawn, texts), ours(folder, drawn, texts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert main(["import", f"--source={output}", f"--workdir={back}"]) == 0
    assert aligngap.load(back).config.data.resize == resize
