"""What is specific to a modality: from pixels or token ids to the transformer's input, and pooling.

Shapes: B batch, L length, W width, R image side, P patch side.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aligngap.models.transformer import layer_norm, parameter_std


class ImageInput(nn.Module):
    """Patches, class token, positions and a LayerNorm (METHODS: image side of AlignCLIP)."""

    size: int
    patch_size: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B L W"]:
        tokens = self._patches(images)
        std = parameter_std(self.width)
        class_token = self._parameter("class_token", std, (self.width,), ("embed",))
        first = jnp.broadcast_to(class_token, (len(tokens), 1, self.width))
        x = jnp.concatenate([first, tokens], axis=1)
        positions_shape = (x.shape[1], self.width)
        x = x + self._parameter("positions", std, positions_shape, ("length", "embed"))
        return layer_norm(self.dtype, "input_norm")(x)

    def _patches(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B N W"]:
        """The patch convolution, without bias: stride = kernel, so it is a product of matrices."""
        side, grid = self.patch_size, self.size // self.patch_size
        # The initialisation of torch's convolutions, which CLIP leaves as it is.
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        kernel = self.param(
            "patch_kernel",
            nn.with_logical_partitioning(init, ("patch", "embed")),
            (side * side * 3, self.width),
            jnp.float32,
        )
        x = images.reshape(len(images), grid, side, grid, side, 3).swapaxes(2, 3)
        x = x.reshape(len(images), grid * grid, side * side * 3)
        return x.astype(self.dtype) @ kernel.astype(self.dtype)

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


def pool_image(x: Float[Array, "B L W"]) -> Float[Array, "B W"]:
    """The class token."""
    return x[:, 0]


def pool_text(x: Float[Array, "B L W"], ids: Int[Array, "B L"]) -> Float[Array, "B W"]:
    """The first end-of-text token: it has the largest id, and padding repeats it."""
    return jnp.take_along_axis(x, ids.argmax(axis=-1)[:, None, None], axis=1)[:, 0]
