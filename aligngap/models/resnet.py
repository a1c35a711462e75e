"""CLIP's modified ResNet (Radford et al. 2021, §2.3): pixels → a feature vector, in NHWC.

Three convolutions and an average pool in place of one and a max pool (ResNet-D of He et al. 2019,
"Bag of Tricks"); blocks and shortcuts stride by average pooling (He et al. 2019; anti-aliasing as
Zhang 2019); attention pools the last map. Modules have the names of OpenAI's and open_clip's state
dicts, `layer1/0/conv1/kernel` for `layer1.0.conv1.weight`, so that theirs map onto ours by path.

Statistics of the norms are parameters that no gradient reaches: they come with imported weights and
stay as imported when these are trained on. So an embedding never depends on the rest of its batch,
and a run's parameters are all that there is to save. At 0 and 1, as drawn, a norm does nothing: a
ResNet that is trained from scratch needs statistics of its batches, which are not offered here.
Shapes: B batch, R image side, H and W of a map, C its channels, L positions, D features.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aligngap.models.transformer import parameter_std

EPS = 1e-5  # Of torch's batch norm.
EXPANSION = 4  # Channels that leave a block over those of its 3×3 convolution.
STATISTICS = ("mean", "var")  # Of a norm: no gradient reaches them.
REDUCTION = 32  # Image side over the side of the last map.
RN50 = {"layers": (3, 4, 6, 3), "width": 64, "heads": 32, "features": 1024}
# What torch gives to convolutions, and CLIP leaves as it is: kaiming_uniform(a=√5).
CONV_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Norm(nn.Module):
    """Batch norm with fixed statistics, in float32: (x − mean) / √(var + ε) · scale + bias."""

    dtype: Any
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        names, values = ("scale", "bias", *STATISTICS), (self.initial_scale, 0, 0, 1)
        scale, bias, mean, var = (
            self._vector(name, value, x.shape[-1])
            for name, value in zip(names, values, strict=True)
        )
        factor = scale * jax.lax.rsqrt(jax.lax.stop_gradient(var) + EPS)
        shift = bias - jax.lax.stop_gradient(mean) * factor
        return (x * factor + shift).astype(self.dtype)

    def _vector(self, name: str, value: float, channels: int) -> Float[Array, "C"]:
        init = nn.with_logical_partitioning(nn.initializers.constant(value), ("activation",))
        return self.param(name, init, (channels,), jnp.float32)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; what strides is an average pool."""

    width: int
    stride: int
    dtype: Any
    residual_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w 4*width"]:
        y = _conv_norm_relu(x, self.width, 1, 1, self.dtype, "1")
        y = _conv_norm_relu(y, self.width, 3, 1, self.dtype, "2")
        out = EXPANSION * self.width
        y = _conv(out, 1, 1, self.dtype, "conv3")(_pool(y, self.stride))
        y = Norm(self.dtype, self.residual_scale, name="bn3")(y)
        if self.stride > 1 or x.shape[-1] != out:
            x = Shortcut(out, self.stride, self.dtype, name="downsample")(x)
        return nn.with_logical_constraint(nn.relu(x + y), ("batch", None, None, "activation"))


class Shortcut(nn.Module):
    """The map as a block with another shape needs it."""

    width: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w width"]:
        x = _conv(self.width, 1, 1, self.dtype, "0")(_pool(x, self.stride))
        return Norm(self.dtype, name="1")(x)


class Stage(nn.Module):
    """Blocks of one width; the first of them strides."""

    blocks: int
    width: int
    stride: int
    dtype: Any
    residual_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w 4*width"]:
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = Bottleneck(self.width, stride, self.dtype, self.residual_scale, name=str(i))(x)
        return x


class AttentionPool(nn.Module):
    """Multi-head attention whose only query is the mean over the map."""

    heads: int
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B D"]:
        batch, height, across, width = x.shape
        std = parameter_std(width)
        x = x.reshape(batch, height * across, width)
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
        init = nn.with_logical_partitioning(nn.initializers.normal(std), ("length", "embed"))
        x = x + self.param("positions", init, x.shape[1:], jnp.float32).astype(self.dtype)
        query, key, value = (
            self._dense(width, std, name)(of).reshape(batch, -1, self.heads, width // self.heads)
            for name, of in (("q_proj", x[:, :1]), ("k_proj", x), ("v_proj", x))
        )
        pooled = jax.nn.dot_product_attention(query, key, value).reshape(batch, width)
        return self._dense(self.features, std, "c_proj")(pooled)

    def _dense(self, features: int, std: float, name: str) -> nn.Dense:
        axes = ("embed", "projection")
        return nn.Dense(
            features,
            dtype=self.dtype,
            kernel_init=nn.with_logical_partitioning(nn.initializers.normal(std), axes),
            bias_init=nn.with_logical_partitioning(_uniform(std), axes[1:]),
            name=name,
        )


class ResNet(nn.Module):
    """Images [B, R, R, 3] → features [B, D], not normalised; R is a multiple of 32.

    `residual_scale` starts the last norm of each block: 0 as in CLIP, where every block starts as
    its shortcut, or 1 as in torchvision. `ResNet(**RN50, dtype=...)` is CLIP's smallest.
    """

    layers: tuple[int, int, int, int]
    width: int
    heads: int
    features: int
    dtype: Any = jnp.float32
    residual_scale: float = 0.0

    @nn.compact
    def __call__(self, images: Float[Array, "B R R 3"]) -> Float[Array, "B D"]:
        x = self.stem(images.astype(self.dtype))
        for i, blocks in enumerate(self.layers):
            width, stride, name = self.width * 2**i, 1 if i == 0 else 2, f"layer{i + 1}"
            x = Stage(blocks, width, stride, self.dtype, self.residual_scale, name=name)(x)
        return AttentionPool(self.heads, self.features, self.dtype, name="attnpool")(x)

    def stem(self, x: Float[Array, "B R R 3"]) -> Float[Array, "B R/4 R/4 width"]:
        """What precedes the blocks."""
        x = _conv_norm_relu(x, self.width // 2, 3, 2, self.dtype, "1")
        x = _conv_norm_relu(x, self.width // 2, 3, 1, self.dtype, "2")
        return _pool(_conv_norm_relu(x, self.width, 3, 1, self.dtype, "3"), 2)


def _conv_norm_relu(
    x: Float[Array, "B H W C"], width: int, side: int, stride: int, dtype: Any, number: str
) -> Float[Array, "B h w width"]:
    x = _conv(width, side, stride, dtype, f"conv{number}")(x)
    return nn.relu(Norm(dtype, name=f"bn{number}")(x))


def _conv(width: int, side: int, stride: int, dtype: Any, name: str) -> nn.Conv:
    return nn.Conv(
        width,
        (side, side),
        stride,
        padding=side // 2,  # Not "SAME", which pads a stride of 2 on one side only.
        use_bias=False,
        dtype=dtype,
        kernel_init=nn.with_logical_partitioning(CONV_INIT, (None, None, None, "embed")),
        conv_general_dilated=_convolve,
        name=name,
    )


def _convolve(
    x: Float[Array, "B H W C"], kernel: Float[Array, "K K C c"], *how: Any, **more: Any
) -> Float[Array, "B h w c"]:
    """XLA's convolution, but products of matrices on maps of 2×2, the last of 64 px: there its own
    took 1.5 s on two CPU cores where these take 0.02 s (512 channels, a batch of 64)."""
    _, height, width, _ = x.shape
    if len(kernel) == 1 or max(height, width) > 2:
        return jax.lax.conv_general_dilated(x, kernel, *how, **more)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [x[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(3, 3)]
    return sum(parts[1:], parts[0])


def _pool(x: Float[Array, "B H W C"], stride: int) -> Float[Array, "B h w C"]:
    return nn.avg_pool(x, (stride, stride), (stride, stride)) if stride > 1 else x


def _uniform(bound: float) -> Callable[..., Array]:
    """±bound: what torch gives to the biases of a dense layer, and CLIP leaves as it is."""

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw
