"""What is specific to a modality: from pixels or token ids to the transformer's input, and pooling.

Shapes: B batch, L length, W width, R image side, P patch side.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aligngap.models.transformer import MLP, Dense, layer_norm, parameter_std


class ImageInput(nn.Module):
    """Patches, class token, positions and a LayerNorm (METHODS: image side of AlignCLIP).

    SigLIP's images have a bias on the patches, no class token and no LayerNorm here.
    """

    size: int
    patch_size: int
    width: int
    patch_bias: bool
    class_token: bool
    norm_eps: float | None  # None: no LayerNorm.
    dtype: Any

    @nn.compact
    def __call__(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B L W"]:
        x = self._patches(images)
        std = parameter_std(self.width)
        if self.class_token:
            class_token = self._parameter("class_token", std, (self.width,), ("embed",))
            first = jnp.broadcast_to(class_token, (x.shape[0], 1, self.width))
            x = jnp.concatenate([first, x], axis=1)
        positions_shape = (x.shape[1], self.width)
        x = x + self._parameter("positions", std, positions_shape, ("length", "embed"))
        if self.norm_eps is None:
            return x
        return layer_norm(self.dtype, self.norm_eps, "input_norm")(x)

    def _patches(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B N W"]:
        """The patch convolution: stride = kernel, so it is a product of matrices."""
        batch = images.shape[0]  # Not len(images): an exported program leaves it open.
        side, grid = self.patch_size, self.size // self.patch_size
        # The initialisation of torch's convolutions, which CLIP leaves as it is.
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        kernel = self.param(
            "patch_kernel",
            nn.with_logical_partitioning(init, ("patch", "embed")),
            (side * side * 3, self.width),
            jnp.float32,
        )
        x = images.reshape(batch, grid, side, grid, side, 3).swapaxes(2, 3)
        x = x.reshape(batch, grid * grid, side * side * 3)
        x = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.patch_bias:
            x = x + self._parameter("patch_bias", 0.0, (self.width,), ("embed",))
        return x

    def _parameter(
        self, name: str, std: float, shape: tuple[int, ...], axes: tuple[str, ...]
    ) -> Array:
        init = nn.with_logical_partitioning(nn.initializers.normal(std), axes)
        return self.param(name, init, shape, jnp.float32).astype(self.dtype)


class TextInput(nn.Module):
    """Token embedding and positions, no LayerNorm."""

    vocab_size: int
    context_length: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L W"]:
        tokens = nn.Embed(
            self.vocab_size,
            self.width,
            dtype=self.dtype,
            embedding_init=nn.with_logical_partitioning(
                nn.initializers.normal(0.02), ("vocab", "embed")
            ),
            name="tokens",
        )
        positions = self.param(
            "positions",
            nn.with_logical_partitioning(nn.initializers.normal(0.01), ("length", "embed")),
            (self.context_length, self.width),
            jnp.float32,
        )
        return tokens(ids) + positions.astype(self.dtype)


class AttentionPooling(nn.Module):
    """A learned query attends to every token; then x + MLP(LN(x)) (SigLIP's MAP head)."""

    heads: int
    mlp_ratio: float
    activation: str
    norm_eps: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B L W"]) -> Float[Array, "B W"]:
        width, std = x.shape[-1], parameter_std(x.shape[-1])
        initial = nn.with_logical_partitioning(nn.initializers.normal(std), ("embed",))
        token = self.param("query_token", initial, (width,), jnp.float32).astype(self.dtype)
        first = jnp.broadcast_to(token, (x.shape[0], 1, width))
        features, axes = (3, self.heads, width // self.heads), ("heads", "head_dim")
        # One product for the query of the first and the keys and values of the others.
        qkv_axes = ("embed", "qkv", *axes)
        qkv = Dense(features, std, qkv_axes, self.dtype, name="qkv")(jnp.concatenate([first, x], 1))
        attended = jax.nn.dot_product_attention(qkv[:, :1, 0], qkv[:, 1:, 1], qkv[:, 1:, 2])
        x = Dense((width,), std, (*axes, "embed"), self.dtype, name="output")(attended)
        mlp = MLP(round(width * self.mlp_ratio), self.activation, std, self.dtype, name="mlp")
        return (x + mlp(layer_norm(self.dtype, self.norm_eps, "mlp_norm")(x)))[:, 0]


def pool_class_token(x: Float[Array, "B L W"]) -> Float[Array, "B W"]:
    """The class token."""
    return x[:, 0]


def pool_end_of_text(x: Float[Array, "B L W"], ids: Int[Array, "B L"]) -> Float[Array, "B W"]:
    """The first end-of-text token: it has the largest id, and padding repeats it."""
    return jnp.take_along_axis(x, ids.argmax(axis=-1)[:, None, None], axis=1)[:, 0]


def pool_last(x: Float[Array, "B L W"], ids: Int[Array, "B L"]) -> Float[Array, "B W"]:
    """The last token, whatever it is (SigLIP)."""
    return x[:, -1]


TEXT_POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "end_of_text": pool_end_of_text,
    "last": pool_last,
}
