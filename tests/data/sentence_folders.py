"""Folders of small sentence-transformers models, as that library saves them."""

import json
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

WORDS = ("a", "the", "cat", "dog", "sat", "on", "mat", "red", "##s", "##dog", "of", ",", ".")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary(folder: Path) -> int:
    """Writes a tokenizer.json of BERT's form; returns how many tokens it has."""
    ids = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    made = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    made.enable_padding(length=40)  # As saved files have it: whoever reads them sets their own.
    made.save(str(folder / "tokenizer.json"))
    return len(ids)


def stages(folder: Path, pooling: str, max_tokens: int, normalised: bool = True) -> None:
    """What sentence-transformers writes beside the weights."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds[: 3 if normalised else 2])
    ]
    modes = ("cls_token", "mean_tokens", "max_tokens")
    flags = {f"pooling_mode_{mode}": mode == pooling for mode in modes}
    write(folder, "modules.json", listed)
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 48, **flags})
    write(folder, "sentence_bert_config.json", {"max_seq_length": max_tokens})


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def without_torch(folder: Path, seed: int = 0, width: int = 32, **fields: object) -> Path:
    """A whole folder of mean pooling with random weights, at most 24 tokens and `width` numbers a
    text, in float32; `fields` replace those of config.json."""
    import numpy as np
    import safetensors.numpy

    folder.mkdir(parents=True, exist_ok=True)
    shape = {
        "vocab_size": vocabulary(folder), "hidden_size": width, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 24,
    }  # fmt: skip
    write(folder, "config.json", {"model_type": "bert", "hidden_act": "gelu", **shape, **fields})
    stages(folder, "mean_tokens", 24)
    random = np.random.default_rng(seed)
    tensors = {
        # Norms about 1: with less, all texts would mean nearly the same.
        name: random.normal("Norm.weight" in name, 0.3, size).astype(np.float32)
        for name, size in _sizes(shape).items()
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder


def _sizes(shape: dict[str, int]) -> dict[str, tuple[int, ...]]:
    width, hidden = shape["hidden_size"], shape["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (shape["vocab_size"], width),
        "embeddings.position_embeddings.weight": (shape["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    dense, norms = {}, ["embeddings.LayerNorm"]
    for i in range(shape["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        square = ("attention.self.query", "attention.self.key", "attention.self.value")
        dense |= {f"{layer}.{name}": (width, width) for name in (*square, "attention.output.dense")}
        dense |= {f"{layer}.intermediate.dense": (hidden, width)}
        dense |= {f"{layer}.output.dense": (width, hidden)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    found |= {f"{name}.weight": size for name, size in dense.items()}
    found |= {f"{name}.bias": size[:1] for name, size in dense.items()}
    found |= {f"{name}.{kind}": (width,) for name in norms for kind in ("weight", "bias")}
    return found
