"""BERT in Flax as sentence encoders use it: post-norm layers, one pooled vector, length 1."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Bool, Float, Int

from aligngap.data.sentence_models import ABSENT, BertShape
from aligngap.errors import AligngapError, some
from aligngap.unit import unit_rows

PREFIX = "bert."  # Before the names of a BERT that was saved with a head, whose own are other.
# Not in the forward pass: the position numbers, and a head that both poolings skip.
UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")

Params = Mapping[str, Any]


# The modules carry the names of the tensors in the file, so that loading is a mechanical renaming.
class _Embeddings(nn.Module):
    shape: BertShape

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L W"]:
        def table(rows: int, name: str) -> nn.Embed:
            return nn.Embed(rows, self.shape.hidden_size, name=name)

        words = table(self.shape.vocab_size, "word_embeddings")(ids)
        places = jnp.arange(ids.shape[1])
        positions = table(self.shape.max_position_embeddings, "position_embeddings")(places)
        kinds = table(self.shape.type_vocab_size, "token_type_embeddings")(jnp.zeros_like(ids))
        norm = nn.LayerNorm(self.shape.layer_norm_eps, name="LayerNorm")
        return norm(words + positions + kinds)


class _Layer(nn.Module):
    """One post-norm BERT layer."""

    shape: BertShape

    @nn.compact
    def __call__(self, x: Float[Array, "B L W"], mask: Bool[Array, "B L"]) -> Float[Array, "B L W"]:
        width, eps = self.shape.hidden_size, self.shape.layer_norm_eps

        def heads(name: str) -> Float[Array, "B L N H"]:
            y = nn.Dense(width, name=f"attention.self.{name}")(x)
            return y.reshape(*x.shape[:2], self.shape.num_attention_heads, -1)

        mixed = jax.nn.dot_product_attention(
            heads("query"), heads("key"), heads("value"), mask=mask[:, None, None, :]
        ).reshape(x.shape)
        mixed = nn.Dense(width, name="attention.output.dense")(mixed)
        x = nn.LayerNorm(eps, name="attention.output.LayerNorm")(x + mixed)
        hidden = nn.Dense(self.shape.intermediate_size, name="intermediate.dense")(x)
        hidden = nn.Dense(width, name="output.dense")(jax.nn.gelu(hidden, approximate=False))
        return nn.LayerNorm(eps, name="output.LayerNorm")(x + hidden)


class Bert(nn.Module):
    """Token ids, ABSENT behind the end of each text → L2-normalised sentence embeddings."""

    shape: BertShape
    pooling: str  # mean | cls

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B W"]:
        mask = ids != ABSENT
        x = _Embeddings(self.shape, name="embeddings")(jnp.maximum(ids, 0))
        for i in range(self.shape.num_hidden_layers):
            x = _Layer(self.shape, name=f"encoder.layer.{i}")(x, mask)
        mean = self.pooling == "mean"
        return unit_rows(jnp.mean(x, axis=1, where=mask[:, :, None]) if mean else x[:, 0], 0.0)

    def embed(self, params: Params, ids: Int[Array, "B L"]) -> Float[Array, "B W"]:
        """As float32 in earnest: a GPU would otherwise multiply in TF32, far off the references."""
        with jax.default_matmul_precision("highest"):
            return self.apply({"params": params}, ids)


def abstract(module: Bert) -> Params:
    """Shapes and dtypes of the parameters."""
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    params: Params = jax.eval_shape(module.init, jax.random.key(0), ids)["params"]
    return params


def parameters(name: str, module: Bert, tensors: Mapping[str, np.ndarray]) -> Params:
    """The tensors of a checkpoint under their Flax paths in float32, Dense kernels transposed.

    `name` is the model's in an AligngapError, which names missing, surplus and wrong tensors.
    """
    expected, tensors = _expected(module), _without_head(tensors)
    wrong = [f"missing {key}" for key in sorted(expected.keys() - tensors.keys())]
    wrong += [f"surplus {key}" for key in sorted(tensors.keys() - expected.keys() - {*UNUSED})]
    flat = {}
    for key in sorted(expected.keys() & tensors.keys()):
        path, leaf = expected[key]
        value = tensors[key].T if path[-1] == "kernel" else tensors[key]
        if value.shape != leaf.shape or value.dtype.kind != "f":
            wrong.append(f"{key} is {value.dtype} {value.shape}, not {leaf.dtype} {leaf.shape}")
        flat[path] = np.asarray(value, np.float32)
    if wrong:
        told = some(wrong, between="; ")
        raise AligngapError(f"{name}: its weights are not what its config.json says: {told}")
    return traverse_util.unflatten_dict(flat)


def _without_head(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    own = {n.removeprefix(PREFIX): x for n, x in tensors.items() if n.startswith(PREFIX)}
    return own or tensors


def _expected(module: Bert) -> dict[str, tuple[tuple[str, ...], jax.ShapeDtypeStruct]]:
    """Tensor name in the file → its path in the Flax parameters, its shape and type there."""
    named = {}
    for path, leaf in traverse_util.flatten_dict(abstract(module)).items():
        kind = "bias" if path[-1] == "bias" else "weight"
        named[".".join((*path[:-1], kind))] = (path, leaf)
    return named
