"""What is specific to a modality: from pixels or token ids to the transformer's input, and pooling.

Shapes: B batch, L length, W width, H heads, K width of a head, R image side, P patch side, G = R/P,
N = G² patches, Q = 3P² numbers of a patch; M ≤ N patches that are kept.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from aligngap.models.layer_norm import LayerNorm
from aligngap.models.transformer import MLP, Dense, parameter_std


def normalise(
    pixels: UInt8[Array, "B R R 3"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Array, "B R R 3"]:
    """uint8 pixels → (x/255 − mean)/std in float32; on the device: bytes travel cheaply."""
    return (pixels.astype(jnp.float32) / 255.0 - jnp.asarray(mean)) / jnp.asarray(std)


class ImageInput(nn.Module):
    """Patches, class token, positions and a LayerNorm: CLIP's, and AlignCLIP's image side.

    SigLIP's images have a bias on the patches, no class token and no LayerNorm here.
    """

    size: int
    patch_size: int
    width: int
    patch_bias: bool
    class_token: bool
    norm_eps: float | None  # None: no LayerNorm.
    dropout: float  # Share of the patches that are dropped in training.
    dtype: Any

    @nn.compact
    def __call__(
        self, images: Float[Array, "B R R 3"], rows: Int[Array, "B"] | None = None
    ) -> Float[Array, "B L W"]:
        x = self._patches(images)
        std = parameter_std(self.width)
        if self.class_token:
            class_token = self._parameter("class_token", std, (self.width,), ("embed",))
            first = jnp.broadcast_to(class_token, (x.shape[0], 1, self.width))
            x = jnp.concatenate([first, x], axis=1)
        positions_shape = (x.shape[1], self.width)
        x = x + self._parameter("positions", std, positions_shape, ("length", "embed"))
        if self.dropout and self.has_rng("train"):
            x = self._thinned(x, rows)
        if self.norm_eps is None:
            return x
        return LayerNorm(self.norm_eps, self.dtype, name="input_norm")(x)

    def _thinned(self, x: Float[Array, "B L W"], rows: Int[Array, "B"] | None) -> Array:
        """Without a share of its patches, others in each row (FLIP, Li et al. 2023, §3.1)."""
        first = int(self.class_token)
        rows = jnp.arange(x.shape[0]) if rows is None else rows
        kept_BxM = kept_patches(self.make_rng("train"), rows, x.shape[1] - first, self.dropout)
        thinned = jnp.take_along_axis(x[:, first:], kept_BxM[:, :, None], axis=1)
        thinned = jnp.concatenate([x[:, :first], thinned], axis=1)
        return nn.with_logical_constraint(thinned, ("batch", "length", "activation"))

    def _patches(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B N W"]:
        """The patch convolution: stride = kernel, so it is a product of matrices."""
        batch = images.shape[0]  # Not len(images): an exported program leaves it open.
        side, grid = self.patch_size, self.size // self.patch_size
        # The initialisation of torch's convolutions, which CLIP leaves as it is.
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        kernel_QxW = self.param(
            "patch_kernel",
            nn.with_logical_partitioning(init, ("patch", "embed")),
            (side * side * 3, self.width),
            jnp.float32,
        )
        x_BxGxPxGxPx3 = images.reshape(batch, grid, side, grid, side, 3)
        x_BxGxGxPxPx3 = x_BxGxPxGxPx3.swapaxes(2, 3)
        x_BxNxQ = x_BxGxGxPxPx3.reshape(batch, grid * grid, side * side * 3)
        x_BxNxW = x_BxNxQ.astype(self.dtype) @ kernel_QxW.astype(self.dtype)
        if self.patch_bias:
            return x_BxNxW + self._parameter("patch_bias", 0.0, (self.width,), ("embed",))
        return x_BxNxW

    def _parameter(
        self, name: str, std: float, shape: tuple[int, ...], axes: tuple[str, ...]
    ) -> Array:
        init = nn.with_logical_partitioning(nn.initializers.normal(std), axes)
        return self.param(name, init, shape, jnp.float32).astype(self.dtype)


def kept_patches(
    key: Key[Array, ""], rows: Int[Array, "B"], count: int, dropout: float
) -> Int[Array, "B M"]:
    """Indices of the patches out of `count` that each row keeps, rising; M is what the
    dropped share leaves, at least 1. A row's are a function of the key and its number alone."""
    noise = jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(key, row), (count,)))(rows)
    kept = patches_kept(count, dropout)
    return jnp.sort(jnp.argsort(noise, axis=1)[:, :kept], axis=1)


def patches_kept(count: int, dropout: float) -> int:
    """How many of `count` patches are not dropped."""
    return max(1, count - round(count * dropout))


class TextInput(nn.Module):
    """Token embedding and positions, no LayerNorm."""

    vocab_size: int
    context_length: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(
        self, ids: Int[Array, "B L"], places: Int[Array, "B L"] | None = None
    ) -> Float[Array, "B L W"]:
        """`places`: where in its caption each token stands; None: a row is a caption."""
        tokens = nn.Embed(
            self.vocab_size,
            self.width,
            dtype=jnp.float32,  # So its gradient adds up in it, too, which GPUs are made for.
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
        embedded, positions = tokens(ids).astype(self.dtype), positions.astype(self.dtype)
        if places is None:
            return embedded + positions
        # A product, not a gather, whose gradient adds up thousands of rows one after the other.
        chosen = jax.nn.one_hot(places, self.context_length, dtype=self.dtype)
        return embedded + jnp.matmul(chosen, positions, precision="highest")


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
        query_W = self.param("query_token", initial, (width,), jnp.float32).astype(self.dtype)
        first_Bx1xW = jnp.broadcast_to(query_W, (x.shape[0], 1, width))
        all_BxMxW = jnp.concatenate([first_Bx1xW, x], 1)  # M = 1 + L
        features, axes = (3, self.heads, width // self.heads), ("heads", "head_dim")
        # One product for the query of the first and the keys and values of the others.
        qkv_axes = ("embed", "qkv", *axes)
        qkv_BxMx3xHxK = Dense(features, std, qkv_axes, self.dtype, name="qkv")(all_BxMxW)
        attended_Bx1xHxK = jax.nn.dot_product_attention(
            qkv_BxMx3xHxK[:, :1, 0],
            qkv_BxMx3xHxK[:, 1:, 1],
            qkv_BxMx3xHxK[:, 1:, 2],
        )
        output = Dense((width,), std, (*axes, "embed"), self.dtype, name="output")
        x_Bx1xW = output(attended_Bx1xHxK)
        mlp = MLP(round(width * self.mlp_ratio), self.activation, std, self.dtype, name="mlp")
        x_Bx1xW = x_Bx1xW + mlp(LayerNorm(self.norm_eps, self.dtype, name="mlp_norm")(x_Bx1xW))
        return x_Bx1xW[:, 0]


def pool_class_token(x: Float[Array, "B L W"]) -> Float[Array, "B 1 W"]:
    """The class token."""
    return x[:, :1]


def pool_end_of_text(x: Float[Array, "B L W"], ids: Int[Array, "B L"]) -> Float[Array, "B 1 W"]:
    """The first end-of-text token: it has the largest id, and padding repeats it."""
    return jnp.take_along_axis(x, ids.argmax(axis=-1)[:, None, None], axis=1)


def pool_last(x: Float[Array, "B L W"], ids: Int[Array, "B L"]) -> Float[Array, "B 1 W"]:
    """The last token, whatever it is (SigLIP)."""
    return x[:, -1:]


TEXT_POOLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "end_of_text": pool_end_of_text,
    "last": pool_last,
}
