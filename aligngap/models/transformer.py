"""The pre-LN transformer of CLIP, one implementation for images, text, or both at once.

Shapes: B batch, L length, W width, H heads, K width of a head. Where several shapes meet, a name
ends in its own: query_BxLxHxK.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from aligngap.models.gelu import ACTIVATIONS
from aligngap.models.layer_norm import LayerNorm


@jax.custom_vjp
def affine(
    x: Float[Array, "N I"], kernel: Float[Array, "I F"], bias: Float[Array, "F"]
) -> Float[Array, "N F"]:
    """x·kernel + bias; its kernel's gradient is contracted the way that a CPU is fast at."""
    return x @ kernel + bias


def _affine_forward(x: Array, kernel: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(x, kernel, bias), (x, kernel)


def _affine_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, Array]:
    x, kernel = saved
    # The barrier keeps XLA from turning the product round again.
    tall = kernel.shape[0] > kernel.shape[1]
    of_kernel = _barrier(gradient.T @ x).T if tall else x.T @ gradient
    # Summed as rows, of which there are few columns: XLA would go back to [batch, length, ...].
    of_bias = jnp.sum(_barrier(gradient), axis=0)
    return gradient @ kernel.T, of_kernel, of_bias


def _barrier(x: Array) -> Array:
    """Against what XLA's CPU backend makes of it; a GPU sums a gradient while it is made."""
    return jax.lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


affine.defvjp(_affine_forward, _affine_backward)


def _is_split(axes: tuple[str, ...]) -> bool:
    """Whether these logical axes are several, and the mesh in force splits one: made one, they
    would have to be gathered."""
    sizes = jax.sharding.get_abstract_mesh().shape
    if len(axes) < 2 or not sizes:
        return False
    return any(sizes[axis] > 1 for axis in nn.logical_to_mesh_axes(axes) or () if axis)


PRODUCT = "product"  # The outputs of Dense, for what keeps them and computes the rest again.


class Dense(nn.Module):
    """The last axes of x → `features`, with bias; a kernel of shape `inputs + features`.

    Not nn.DenseGeneral: it makes kernels flat and reshapes them, so their logical axes do not fit.
    """

    features: tuple[int, ...]
    std: float
    axes: tuple[str, ...]  # Logical names of the kernel's axes: inputs, then features.
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "..."] | tuple[Float[Array, "..."], ...]) -> Any:
        """Of several x a product each, with its own kernel along the first axis of features."""
        several = x if isinstance(x, tuple) else (x,)
        contracted = len(self.axes) - len(self.features)
        shape = several[0].shape[-contracted:] + self.features
        kernel_init = nn.with_logical_partitioning(nn.initializers.normal(self.std), self.axes)
        inputs, outputs = self.axes[:contracted], self.axes[contracted:]
        bias_init = nn.with_logical_partitioning(nn.initializers.zeros, outputs)
        kernel = self.param("kernel", kernel_init, shape, jnp.float32).astype(self.dtype)
        bias = self.param("bias", bias_init, self.features, jnp.float32).astype(self.dtype)
        whole = _is_split(inputs) or _is_split(outputs)
        product, given = _by_axes if whole else _flat, [x.astype(self.dtype) for x in several]
        if not isinstance(x, tuple):
            return product(given[0], kernel, bias)
        kernels = jnp.moveaxis(kernel, contracted, 0)
        return tuple(product(x, kernels[i], bias[i]) for i, x in enumerate(given))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _times(x: Array, count: int) -> tuple[Array, ...]:
    """x for so many products, of which each adds its gradient to the sum of those before, as rows:
    XLA lets a product write on what is added to it only where that stands second."""
    return (x,) * count


def _times_backward(count: int, _: None, gradients: tuple[Array, ...]) -> tuple[Array]:
    total = gradients[0]
    for gradient in gradients[1:]:
        total = _sum(gradient, total)
    return (total,)


_times.defvjp(lambda x, count: (_times(x, count), None), _times_backward)


def _by_axes(x: Array, kernel: Array, bias: Array) -> Array:
    contracted = kernel.ndim - bias.ndim
    return checkpoint_name(jnp.tensordot(x, kernel, axes=contracted) + bias, PRODUCT)


def _flat(x: Array, kernel: Array, bias: Array) -> Array:
    """As rows: XLA's CPU backend copies what it contracts over several axes."""
    contracted = kernel.ndim - bias.ndim
    inputs, kept = math.prod(kernel.shape[:contracted]), x.shape[: x.ndim - contracted]
    out = affine(x.reshape(-1, inputs), kernel.reshape(inputs, -1), bias.reshape(-1))
    return checkpoint_name(out, PRODUCT).reshape(*kept, *bias.shape)


def attend(
    query: Float[Array, "B H L K"],
    key: Float[Array, "B H M K"],
    value: Float[Array, "B H M K"],
    seen: Bool[Array, "#B 1 L M"] | None,
) -> Float[Array, "B H L K"]:
    """softmax(QKᵀ/√K)·V (Vaswani et al. 2017, equation 1) over what each token may see; the softmax
    in float32."""
    scores_BxHxLxM = jnp.einsum(
        "bhlk,bhmk->bhlm",
        query * query.shape[-1] ** -0.5,
        key,
        preferred_element_type=jnp.float32,
    )
    if seen is not None:
        scores_BxHxLxM = jnp.where(seen, scores_BxHxLxM, jnp.finfo(jnp.float32).min)
    weights_BxHxLxM = jax.nn.softmax(scores_BxHxLxM).astype(value.dtype)
    return jnp.einsum("bhlm,bhmk->bhlk", weights_BxHxLxM, value)


def packed_mask(segments: Int[Array, "B L"]) -> Bool[Array, "B 1 L L"]:
    """Which tokens of a row each may see: those up to itself of its own segment."""
    length = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    return (same & jnp.tri(length, dtype=bool))[:, None]


def seen(
    x: Float[Array, "B L W"], causal: bool, segments: Int[Array, "B L"] | None
) -> Bool[Array, "#B 1 L L"] | None:
    """Which tokens of its row each may see; None: all of them."""
    if segments is not None:
        return packed_mask(segments)
    return jnp.tri(x.shape[1], dtype=bool)[None, None] if causal else None


def by_cudnn(attention: str, dtype: Any) -> bool:
    """Whether cuDNN's fused kernel, which GPUs have for half precision alone, is to be taken."""
    return attention == "auto" and jax.default_backend() == "gpu" and dtype == jnp.bfloat16


def even(
    x: Float[Array, "B L W"], segments: Int[Array, "B L"] | None
) -> tuple[Float[Array, "B M W"], Int[Array, "B M"] | None]:
    """With a token of zeros behind an odd number of them, which is a segment of its own: JAX offers
    cuDNN's gradients for even lengths alone (0.10 and 0.11)."""
    odd = x.shape[1] % 2
    if segments is not None:
        segments = jnp.pad(segments, ((0, 0), (0, odd)), constant_values=-1)
    return jnp.pad(x, ((0, 0), (0, odd), (0, 0))), segments


# [B, L, ...] → [N, P, ...]: the tokens that are looked at behind the last block.
Wanted = Callable[[Array], Array]


class Attention(nn.Module):
    """Multi-head self-attention, causal or not, or causal within each segment of a row; of `length`
    tokens (None: all), behind which nobody looks. Of the tokens that are `wanted` (None: all)."""

    heads: int
    output_std: float
    attention: str  # auto | xla
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L W"],
        causal: bool,
        segments: Int[Array, "B L"] | None = None,
        length: int | None = None,
        wanted: Wanted | None = None,
    ) -> Float[Array, "N P W"]:
        width = x.shape[-1]
        qkv_shape = (3, self.heads, width // self.heads)
        qkv_axes = ("embed", "qkv", "heads", "head_dim")
        qkv = Dense(qkv_shape, width**-0.5, qkv_axes, self.dtype, name="qkv")
        if wanted is not None and segments is None:
            attended_BxLxHxK = self._of_wanted(qkv, x[:, :length], causal, wanted)
        elif by_cudnn(self.attention, self.dtype):
            query, key, value = qkv(_times(x, 3))  # The kernel wants each alone in memory.
            all_see_all = not causal and segments is None
            tokens = length or x.shape[1]
            ends_B = jnp.full(x.shape[:1], tokens) if all_see_all and tokens < x.shape[1] else None
            attended_BxLxHxK = jax.nn.dot_product_attention(
                query,
                key,
                value,
                mask=None if segments is None else packed_mask(segments),
                is_causal=causal and segments is None,
                key_value_seq_lengths=ends_B,
                implementation="cudnn",
            )
        else:
            # One copy puts heads first, for all products; and one puts their gradients back.
            qkv_3xBxHxLxK = qkv(x).transpose(2, 0, 3, 1, 4)
            query, key, value = (part[0] for part in jnp.split(qkv_3xBxHxLxK, 3))
            attended_BxHxLxK = attend(query, key, value, seen(x, causal, segments))
            attended_BxLxHxK = attended_BxHxLxK.swapaxes(1, 2)
        if wanted is not None and segments is not None:
            attended_BxLxHxK = wanted(attended_BxLxHxK[:, :length])
        output_axes = ("heads", "head_dim", "embed")
        output = Dense((width,), self.output_std, output_axes, self.dtype, name="output")
        return output(attended_BxLxHxK)

    def _of_wanted(
        self, qkv: Dense, x: Float[Array, "B L W"], causal: bool, wanted: Wanted
    ) -> Float[Array, "B P H K"]:
        """Every token is seen, few ask: as in pooling, cuDNN's kernel has nothing to gain."""
        products = qkv((wanted(x), *_times(x, 2)))
        query, key, value = (product.swapaxes(1, 2) for product in products)
        mask = seen(x, causal, None)
        if mask is not None:
            mask_BxLxL = jnp.broadcast_to(mask[:, 0], (*x.shape[:2], x.shape[1]))
            mask = wanted(mask_BxLxL)[:, None]
        return attend(query, key, value, mask).swapaxes(1, 2)


class MLP(nn.Module):
    """Two dense layers with one of ACTIVATIONS between them."""

    hidden: int
    activation: str
    output_std: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B L W"]) -> Float[Array, "B L W"]:
        width = x.shape[-1]
        hidden_std = (2 * width) ** -0.5
        x = Dense((self.hidden,), hidden_std, ("embed", "mlp"), self.dtype, name="hidden")(x)
        x = nn.with_logical_constraint(x, ("batch", "length", "mlp"))
        x = ACTIVATIONS[self.activation](x)
        return Dense((width,), self.output_std, ("mlp", "embed"), self.dtype, name="output")(x)


def _sum(x: Array, y: Array) -> Array:
    """As rows, as a product gives them: XLA then lets a GPU's product add x where x stays what it
    is; else it would take it for its own to write on, and a copy would be made first."""
    width = x.shape[-1]
    return (x.reshape(-1, width) + y.reshape(-1, width)).reshape(x.shape)


class Block(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)); of the tokens that are `wanted`."""

    width: int
    heads: int
    mlp_ratio: float
    layers: int
    activation: str
    norm_eps: float
    attention: str
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L W"],
        causal: bool,
        segments: Int[Array, "B L"] | None = None,
        length: int | None = None,
        wanted: Wanted | None = None,
    ) -> Float[Array, "N P W"]:
        # The residual stream sums 2·layers outputs: CLIP's initialisation keeps its variance (as
        # GPT-2's, Radford et al. 2019, section 2.3).
        output_std = self.width**-0.5 * (2 * self.layers) ** -0.5
        attention = Attention(self.heads, output_std, self.attention, self.dtype, name="attention")
        normed = LayerNorm(self.norm_eps, self.dtype, name="attention_norm")(x)
        attended = attention(normed, causal, segments, length, wanted)
        x = _sum(x if wanted is None else wanted(x[:, :length]), attended)
        hidden = round(self.width * self.mlp_ratio)
        mlp = MLP(hidden, self.activation, output_std, self.dtype, name="mlp")
        x = _sum(x, mlp(LayerNorm(self.norm_eps, self.dtype, name="mlp_norm")(x)))
        return nn.with_logical_constraint(x, ("batch", "length", "activation"))


# What of a block the backward pass finds kept: policies of jax.checkpoint.
POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,  # All that differentiation asks for.
    "auto": None,  # Until training/remat.py has decided.
    # What the products of activations and kernels give: attention, GELU and LayerNorms are computed
    # again. By name: jax's own policies for products do not see into `affine`.
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),
    "block": jax.checkpoint_policies.nothing_saveable,  # What enters it.
}


def _rematerialised(body: Callable[..., Any], policy: str, scan: bool) -> Callable[..., Any]:
    if POLICIES[policy] is None:
        return body
    # A scan of several keeps the two passes apart by itself; else XLA would merge them again.
    rematerialised: Callable[..., Any] = nn.remat(
        body, policy=POLICIES[policy], prevent_cse=not scan
    )
    return rematerialised


class Transformer(nn.Module):
    """`layers` blocks and a final LayerNorm; parameters of the blocks are stacked [layers, ...].

    One layout of parameters whether the loop over layers is scanned or unrolled, so that
    checkpoints do not depend on it. `remat`: what the backward pass computes again, of POLICIES.
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: float
    activation: str
    norm_eps: float
    attention: str  # auto: cuDNN's where it can be had | xla
    dtype: Any
    remat: str
    scan: bool

    def setup(self) -> None:
        self.blocks = Block(
            self.width,
            self.heads,
            self.mlp_ratio,
            self.layers,
            self.activation,
            self.norm_eps,
            self.attention,
            self.dtype,
        )
        self.final_norm = LayerNorm(self.norm_eps, self.dtype)

    def __call__(
        self,
        x: Float[Array, "B L W"],
        causal: bool,
        segments: Int[Array, "B L"] | None = None,
        wanted: Wanted | None = None,
    ) -> Float[Array, "N P W"]:
        """The tokens that are `wanted` (None: all): the last block has their queries alone (of
        packed rows, which have several each, all), and behind attention products of them alone."""
        length = x.shape[1]
        if by_cudnn(self.attention, self.dtype):
            x, segments = even(x, segments)

        def body(block: Block, x: Array, segments: Array | None) -> tuple[Array, None]:
            return block(x, causal, segments, length), None

        def last(block: Block, x: Array, segments: Array | None) -> Array:
            return block(x, causal, segments, length, wanted)

        if wanted is None or self.is_initializing():
            x = self._scanned(body, self.layers)(self.blocks, x, segments)[0][:, :length]
            return self.final_norm(x if wanted is None else wanted(x))
        if self.layers > 1:
            run = _with_parameters(self._scanned(body, self.layers - 1), slice(-1))
            x, _ = run(self.blocks, x, segments)
        run = _with_parameters(_rematerialised(last, self.remat, scan=False), -1)
        return self.final_norm(run(self.blocks, x, segments))

    def _scanned(self, body: Callable[..., Any], layers: int) -> Callable[..., Any]:
        scanned: Callable[..., Any] = nn.scan(
            _rematerialised(body, self.remat, self.scan and layers > 1),
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=layers,
            # Of what initialises them, one block is compiled in any case.
            unroll=1 if self.scan or self.is_initializing() else layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        return scanned


def _with_parameters(body: Callable[..., Any], layers: int | slice) -> Callable[..., Any]:
    """Those of these layers in place of all."""
    taken = partial(jax.tree.map, lambda stacked: stacked[layers])
    mapped: Callable[..., Any] = nn.map_variables(body, "params", trans_in_fn=taken)
    return mapped


def parameter_std(width: int) -> float:
    """W^-½, the scale of CLIP's class token, image positions and projection."""
    return 1.0 / math.sqrt(width)
