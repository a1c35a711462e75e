"""Folders of sentence-transformers models: what torch makes of them, and what is refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
import tokenizers

from aligngap.data import sentence_models, sentences
from aligngap.data.sentence_models import ABSENT, SentenceTokens
from aligngap.errors import AligngapError, UsageError

import sentence_folders

TEXTS = [
    "a cat sat on the mat.",
    "the dogs",
    "A Red Dog, of the unheard",
    "",
    "cat " * 40,
    "the red cat sat on the red mat, the dog on the cat.",
]


def saved_by_torch(folder, pooling, seed, **fields):
    """A random BertModel that transformers saved, and its sentence-transformers files."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel

    folder.mkdir()
    fields["vocab_size"] = sentence_folders.vocabulary(folder) + 3
    torch.manual_seed(seed)
    model = BertModel(BertConfig(initializer_range=0.3, **fields)).eval()
    model.save_pretrained(folder)
    sentence_folders.stages(folder, pooling, 24)
    return model


def by_torch(folder, model, pooling, texts):
    """As sentence-transformers: the library's own last states, pooled and normalised."""
    import torch

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(24)
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        pooled = states.mean(0) if pooling == "mean_tokens" else states[0]
        rows.append(torch.nn.functional.normalize(pooled, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    ("pooling", "fields"),
    [
        (
            "mean_tokens",
            {
                "hidden_size": 48,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "intermediate_size": 80,
                "max_position_embeddings": 40,
            },
        ),
        (
            "cls_token",
            {
                "hidden_size": 30,
                "num_hidden_layers": 2,
                "num_attention_heads": 3,
                "intermediate_size": 64,
                "max_position_embeddings": 24,
                "type_vocab_size": 1,
                "layer_norm_eps": 1e-5,
            },
        ),
    ],
)
def test_any_bert_gives_what_torch_gives(tmp_path, pooling, fields):
    folder = tmp_path / "model"
    model = saved_by_torch(folder, pooling, seed=len(pooling), **fields)
    encoder = sentences.load(str(folder), tmp_path)
    assert encoder.width == fields["hidden_size"]
    wanted = by_torch(folder, model, pooling, TEXTS)
    assert np.abs(wanted[0] - wanted[1]).max() > 0.05  # Texts that a wrong encoder would mix up.
    np.testing.assert_allclose(encoder.embed(TEXTS), wanted, atol=1e-5, rtol=0)


@pytest.fixture
def folder(tmp_path):
    return sentence_folders.without_torch(tmp_path / "model")


def changed(folder, file, **fields):
    content = json.loads((folder / file).read_text())
    sentence_folders.write(folder, file, {**content, **fields})


def test_the_digest_is_that_of_what_embeddings_are_made_of(folder, tmp_path):
    def digest(where):
        return sentence_models.read(str(where), tmp_path).digest

    shutil.copytree(folder, tmp_path / "copy")
    assert digest(tmp_path / "copy") == digest(folder)
    changed(tmp_path / "copy", "sentence_bert_config.json", max_seq_length=20)
    other = sentence_folders.without_torch(tmp_path / "other", seed=1)
    assert len({digest(path) for path in (folder, tmp_path / "copy", other)}) == 3


def test_half_precision_weights_are_read_as_float32(folder, tmp_path):
    import safetensors.numpy

    file = folder / "model.safetensors"
    halves = {n: x.astype(np.float16) for n, x in safetensors.numpy.load_file(file).items()}
    exact = sentences.load(str(folder), tmp_path).embed(TEXTS)
    safetensors.numpy.save_file(halves, file)
    np.testing.assert_allclose(sentences.load(str(folder), tmp_path).embed(TEXTS), exact, atol=1e-2)


def test_texts_are_lower_cased_where_the_model_says_so(folder, tmp_path):
    changed(folder, "tokenizer.json", normalizer=None)

    def ids(text):
        return sentence_models.read(str(folder), tmp_path).tokenizer(24).encode(text).ids

    assert ids("Red Cat") != ids("red cat")
    changed(folder, "sentence_bert_config.json", do_lower_case=True)
    assert ids("Red Cat") == ids("red cat")


def test_token_rows_end_with_absent_ones_and_survive_pickling(folder, tmp_path):
    tokenizer = sentence_models.read(str(folder), tmp_path).tokenizer(6)
    tokens = pickle.loads(pickle.dumps(SentenceTokens(tokenizer, 6)))
    np.testing.assert_array_equal(tokens("the cat"), [2, 6, 7, 3, ABSENT, ABSENT])
    np.testing.assert_array_equal(tokens("the cat sat on the mat"), [2, 6, 7, 9, 10, 3])


def without(file):
    return lambda folder: (folder / file).unlink()


def with_fields(file, **fields):
    return lambda folder: changed(folder, file, **fields)


def with_text(file, text):
    return lambda folder: (folder / file).write_text(text)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def staged(*kinds, path=""):
    modules = [{"type": f"a.{kind}", "path": path if i else ""} for i, kind in enumerate(kinds)]
    return lambda folder: sentence_folders.write(folder, "modules.json", modules)


PROMPTS = "config_sentence_transformers.json"
POOLING = "1_Pooling/config.json"
MAX = {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_fields("config.json", model_type="mpnet"), "model_type 'mpnet'; expected 'bert'"),
        (with_fields("config.json", hidden_act="relu"), "hidden_act 'relu'; expected 'gelu'"),
        (with_fields("config.json", position_embedding_type="relative_key"), "'relative_key'"),
        (with_fields("config.json", is_decoder=True), "is_decoder True"),
        (with_fields("config.json", hidden_size="32"), "hidden_size '32'; expected a number"),
        (with_fields("config.json", num_attention_heads=5), "no multiple of num_attention_heads"),
        (with_fields("config.json", vocab_size=10), "tokenizer has tokens that its weights lack"),
        (with_fields("config.json", intermediate_size=41), "intermediate.dense.weight is float32"),
        (with_text("config.json", '{"model_type": "bert"}'), "config.json lacks hidden_size, "),
        (with_fields(POOLING, **MAX), "pools by max_tokens; expected mean_tokens or cls_token"),
        (with_fields(POOLING, pooling_mode_cls_token=True), "pools by cls_token and mean_tokens"),
        (staged("Transformer", "Pooling", "Dense"), "made of Transformer, Pooling, Dense"),
        (staged("Transformer", "Pooling", path="../1_Pooling"), "'../1_Pooling', which lies else"),
        (with_text("modules.json", "{}"), "made of nothing"),
        (with_text("modules.json", "[3]"), "lists no stages"),
        (with_text("config.json", "[1]"), "config.json is no JSON object"),
        (with_text("config.json", "{"), "config.json is no JSON"),
        (with_text("tokenizer.json", "{}"), "tokenizer.json cannot be read"),
        (with_text("model.safetensors", "x" * 100), "model.safetensors cannot be read"),
        (with_text(PROMPTS, '{"default_prompt_name": "query"}'), "its prompt 'query'"),
        (with_fields("sentence_bert_config.json", max_seq_length="long"), "is 'long'"),
        (without("modules.json"), "has no modules.json: expected a folder of a sentence"),
        (without("tokenizer.json"), "has no tokenizer.json"),
        (without("model.safetensors"), "has no model.safetensors"),
        (pickled, "a pickle, which is never opened: save them as model.safetensors"),
    ],
)  # fmt: skip
def test_what_is_no_bert_of_this_kind_is_refused_in_a_line(folder, tmp_path, change, message):
    change(folder)
    with pytest.raises(AligngapError, match="model") as caught:
        sentences.load(str(folder), tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_neither_a_name_nor_a_folder(tmp_path):
    for name in ("minilm2", "", str(tmp_path / "nothing")):
        with pytest.raises(UsageError, match="expected minilm, or a folder"):
            sentences.load(name, tmp_path)
