"""Run by test_stores.py, with sentence-transformers: models of random weights on this disk encode
without the gap, are saved and are loaded."""

import json

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from aligngap.errors import AligngapError
from aligngap.gap import GapTransform, centroid_distance
from aligngap.gap.stores.sentence_transformers import GapModule

import sentence_folders

CAPTIONS = ["a cat sat on the mat", "the red dog", "a dog", "cats", "reds of the mat, the dog."] * 2


@pytest.fixture
def pictures():
    noise = np.random.default_rng(0).integers(0, 255, (10, 20, 20, 3), np.uint8)
    return [Image.fromarray(each) for each in noise]


@pytest.fixture
def bert(tmp_path):
    return sentence_folders.without_torch(tmp_path / "bert")


@pytest.fixture
def clip(tmp_path):
    """A folder of transformers' CLIP, whose images and texts have 32 dimensions."""
    folder = tmp_path / "MODEL"
    folder.mkdir()
    tower = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 4}  # fmt: skip
    words = {"vocab_size": sentence_folders.vocabulary(folder), "max_position_embeddings": 24}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    config = CLIPConfig(
        projection_dim=32,
        text_config={**tower, **words, **ends},
        vision_config={**tower, "image_size": 16, "patch_size": 8},
    )
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
    tokens = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]", model_max_length=24
    )
    CLIPProcessor(image_processor=pixels, tokenizer=tokens).save_pretrained(folder)
    return folder


def opened(folder, **options):
    return SentenceTransformer(str(folder), device="cpu", **options)


def cones(text):
    """(image, text, query): images beside the texts, and queries with a mean of their own."""
    noise = np.random.default_rng(1).normal(size=text.shape)
    return text + 0.1 * noise + 0.3 * np.eye(32)[0], text, text - 0.5 * text[:1]


def test_it_encodes_as_the_transform_does(bert):
    """As last module of a list; texts by themselves, as documents, and as queries."""
    model = opened(bert)
    plain = model.encode(CAPTIONS)
    image, text, query = cones(plain)
    for method in ("mean", "standardise", "realign", "spectral"):
        options = {"eigenvectors": 3} if method == "spectral" else {}
        transform = GapTransform.fit(image, text, method, query, **options)
        closed = SentenceTransformer(modules=[*model, GapModule(transform)], device="cpu")
        wanted = transform.text(plain)
        np.testing.assert_allclose(closed.encode(CAPTIONS), wanted, atol=1e-5)
        np.testing.assert_allclose(closed.encode_document(CAPTIONS), wanted, atol=1e-5)
        found = closed.encode_query(CAPTIONS)
        np.testing.assert_allclose(found, transform.query(plain), atol=1e-5)
        assert np.abs(found - wanted).max() > 1e-2 or method == "spectral"
        assert closed.get_embedding_dimension() == wanted.shape[1] == transform.width
        tensor = closed.encode(CAPTIONS, convert_to_tensor=True)
        assert tensor.dtype == torch.float32 and not tensor.requires_grad


def test_models_in_half_precision_stay_so(bert):
    model = opened(bert).to(torch.bfloat16)
    plain = model.encode(CAPTIONS, convert_to_tensor=True)
    image, text, query = cones(plain.float().numpy())
    transform = GapTransform.fit(image, text, "mean", query)
    model.append(GapModule(transform))
    found = model.encode(CAPTIONS, convert_to_tensor=True)
    assert found.dtype == torch.bfloat16
    np.testing.assert_allclose(found.float(), transform.text(plain.float().numpy()), atol=5e-3)


def test_saved_by_the_library_it_encodes_the_same_bits(bert, tmp_path):
    model = opened(bert)
    image, text, query = cones(model.encode(CAPTIONS))
    model.append(GapModule(GapTransform.fit(image, text, "realign", query)))
    wanted = model.encode_query(CAPTIONS)
    for _ in range(2):  # The library saves over what is there.
        model.save(str(tmp_path / "closed"))
    loaded = opened(tmp_path / "closed", trust_remote_code=True)
    assert loaded.encode_query(CAPTIONS).tobytes() == wanted.tobytes()
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        opened(tmp_path / "closed")
    # Moved elsewhere, and changed by hand.
    (tmp_path / "closed").rename(tmp_path / "moved")
    record = tmp_path / "moved" / "3_GapModule" / "transform" / "transform.json"
    opened(tmp_path / "moved", trust_remote_code=True)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"licence": "mine"}))
    with pytest.raises(AligngapError, match="was changed after it was written"):
        opened(tmp_path / "moved", trust_remote_code=True)


def test_rows_that_it_was_not_fitted_on(bert):
    model = opened(bert)
    narrow = np.random.default_rng(0).normal(size=(9, 16))
    model.append(GapModule(GapTransform.fit(narrow, narrow[:, ::-1])))
    with pytest.raises(AligngapError, match=r"text has 32 dimensions, .* fitted on 16"):
        model.encode(CAPTIONS)
    features = {"sentence_embedding": torch.ones(2, 16), "modality": "audio"}
    with pytest.raises(AligngapError, match="knows no modality 'audio'; it was fitted for image"):
        model[-1](features)
    heard = GapTransform.fit(narrow, narrow[:, ::-1], others={"audio": narrow**2})
    found = GapModule(heard)(features | {})["sentence_embedding"]
    np.testing.assert_array_equal(found, heard.apply("audio", np.ones((2, 16))))


def test_images_and_texts_of_the_page(page, clip, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = opened(clip)
    image, text = plain.encode(pictures), plain.encode(CAPTIONS)
    names = page("sentence-transformers", {"pictures": pictures, "captions": CAPTIONS})
    transform = GapTransform.fit(image, text, "mean")
    np.testing.assert_allclose(names["image"], transform.image(image), atol=1e-5)
    np.testing.assert_allclose(names["text"], transform.text(text), atol=1e-5)
    np.testing.assert_allclose(names["query"], transform.query(text), atol=1e-5)
    # The gap between the modalities is gone from what the loaded model encodes.
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    before, after = centroid_distance(image, text), centroid_distance(names["image"], names["text"])
    assert after < 0.3 * before
