"""The model: two towers, or one transformer tied across the modalities (AlignCLIP, SharedCLIP).

A tower of images is a Vision Transformer, or CLIP's ResNet where the config has its stages."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict, FrozenConfigDict

from aligngap.data.packing import PackedText
from aligngap.models.logit_scale import Number, bias_of, parameter_of, scale_of
from aligngap.models.resnet import ResNet
from aligngap.models.towers import (
    TEXT_POOLINGS,
    AttentionPooling,
    ImageInput,
    TextInput,
    pool_class_token,
)
from aligngap.models.transformer import Transformer, parameter_std
from aligngap.unit import unit_rows


class Projection(nn.Module):
    """The map into the space of both modalities; rows in float32, L2-normalised if `unit`."""

    embed_dim: int
    form: str  # linear | affine | none
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B W"], unit: bool = True) -> Float[Array, "B D"]:
        embedding = x.astype(jnp.float32) if self.form == "none" else self._mapped(x)
        rows = unit_rows(embedding) if unit else embedding
        return nn.with_logical_constraint(rows, ("batch", "activation"))

    def _mapped(self, x: Float[Array, "B W"]) -> Float[Array, "B D"]:
        init = nn.initializers.normal(parameter_std(x.shape[-1]))
        axes = ("embed", "projection")
        kernel_init = nn.with_logical_partitioning(init, axes)
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.embed_dim), jnp.float32)
        mapped = jnp.dot(
            x.astype(self.dtype), kernel.astype(self.dtype), preferred_element_type=jnp.float32
        )
        if self.form == "linear":
            return mapped
        zeros = nn.with_logical_partitioning(nn.initializers.zeros, ("projection",))
        return mapped + self.param("bias", zeros, (self.embed_dim,), jnp.float32)


class DualEncoder(nn.Module):
    """Images [B, R, R, 3] and token ids [B, L] → embeddings [B, D] and the scale s = 1/τ.

    `config` is the run's `model` part. `tie` says what the modalities share.
    """

    config: ConfigDict
    dtype: Any = jnp.float32

    def setup(self) -> None:
        config = self.config
        image, text = config.image, config.text
        if image.stages:
            self.image_resnet = ResNet(
                image.stages, image.width, image.heads, config.embed_dim, self.dtype
            )
        else:
            self.image_input = ImageInput(
                image.size,
                image.patch_size,
                image.width,
                image.patch_bias,
                image.pooling == "class_token",
                image.norm_eps if image.input_norm else None,
                image.patch_dropout,
                self.dtype,
            )
        self.text_input = TextInput(text.vocab_size, text.context_length, text.width, self.dtype)
        if config.tie == "none":
            self.image_transformer = self._transformer(image)
            self.text_transformer = self._transformer(text)
        else:
            self.transformer = self._transformer(image)
        if image.pooling == "attention":  # Without images that go through it, it has no parameters.
            self.image_pooling = AttentionPooling(
                image.heads,
                image.mlp_ratio,
                image.activation,
                image.norm_eps,
                self.dtype,
            )
        if config.tie == "transformer+projection":
            self.projection = Projection(config.embed_dim, image.projection, self.dtype)
        else:
            self.image_projection = Projection(config.embed_dim, image.projection, self.dtype)
            self.text_projection = Projection(config.embed_dim, text.projection, self.dtype)
        self.logit_scale = self.param(
            "logit_scale",
            nn.initializers.constant(parameter_of(config.scale_init, config.scale_form)),
            (),
            jnp.float32,
        )
        if config.logit_bias:
            initial = nn.initializers.constant(config.bias_init)
            self.bias = self.param("logit_bias", initial, (), jnp.float32)

    def encode_image(
        self,
        images: Float[Array, "B R R 3"],
        rows: Int[Array, "B"] | None = None,
        unit: bool = True,
    ) -> Float[Array, "B D"]:
        """L2-normalised embeddings if `unit`; images are already normalised by mean and std.

        With an rng "train", what is random in a row is a function of it and the row's number.
        """
        if self.config.image.stages:
            return self._projection("image")(self.image_resnet(images), unit)
        by_attention = self.config.image.pooling == "attention"
        wanted = None if by_attention else pool_class_token
        x = self._blocks("image")(self.image_input(images, rows), causal=False, wanted=wanted)
        return self._projection("image")(self.image_pooling(x) if by_attention else x[:, 0], unit)

    def encode_text(self, ids: Int[Array, "B L"], unit: bool = True) -> Float[Array, "B D"]:
        """L2-normalised embeddings if `unit`; a causal mask, if any, is on the text pass only."""
        text = self.config.text
        pool = TEXT_POOLINGS[text.pooling]
        x = self._blocks("text")(
            self.text_input(ids), causal=text.causal, wanted=lambda x: pool(x, ids)
        )
        return self._projection("text")(x[:, 0], unit)

    def encode_packed_text(
        self, packed: PackedText[Array], unit: bool = True
    ) -> Float[Array, "B D"]:
        """What `encode_text` makes of the same captions, for a causal tower that pools at the end
        of the text: what follows it is seen by nobody."""
        groups, rows, length = packed.ids.shape  # G, R, P: S = R·P slots a group.
        ids, places, segments = (
            x.reshape(groups * rows, length)
            for x in (packed.ids, packed.positions, packed.segments)
        )

        def ends(x_GRxPx: Array) -> Array:
            x_GxSxF = x_GRxPx.reshape(groups, rows * length, -1)
            ended = jnp.take_along_axis(x_GxSxF, packed.ends[:, :, None], axis=1)
            return ended.reshape(-1, 1, *x_GRxPx.shape[2:])

        embedded = self.text_input(ids, places)
        x = self._blocks("text")(embedded, causal=True, segments=segments, wanted=ends)
        return self._projection("text")(x[:, 0], unit)

    def encode(
        self,
        images: Float[Array, "B R R 3"],
        ids: Int[Array, "B L"],
        packed: PackedText[Array] | None = None,
        rows: Int[Array, "B"] | None = None,
        unit: bool = True,
    ) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
        """Both modalities; the text from `packed` where the batch has it. `rows` are the places of
        these in their batch, from 0 on."""
        image = self.encode_image(images, rows, unit)
        if packed is None:
            return image, self.encode_text(ids, unit)
        return image, self.encode_packed_text(packed, unit)

    def scale_and_bias(
        self, scale: Number | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""] | None]:
        """s = 1/τ, the learnt one unless it is given, and b of a model that has a bias."""
        if scale is None:
            scale = scale_of(self.logit_scale, self.config.scale_form)
        scale = jnp.asarray(scale)
        if not self.config.logit_bias:
            return scale, None
        return scale, bias_of(self.bias, scale, self.config.bias_form)

    def __call__(
        self, images: Float[Array, "B R R 3"], ids: Int[Array, "B L"]
    ) -> tuple[Float[Array, "B D"], Float[Array, "B D"], Float[Array, ""]]:
        return *self.encode(images, ids), self.scale_and_bias()[0]

    def _transformer(self, tower: ConfigDict) -> Transformer:
        return Transformer(
            width=tower.width,
            layers=tower.layers,
            heads=tower.heads,
            mlp_ratio=tower.mlp_ratio,
            activation=tower.activation,
            norm_eps=tower.norm_eps,
            attention=self.config.attention,
            dtype=self.dtype,
            remat=self.config.remat,
            scan=self.config.scan,
        )

    def _blocks(self, modality: str) -> Transformer:
        if self.config.tie != "none":
            return self.transformer
        return self.image_transformer if modality == "image" else self.text_transformer

    def _projection(self, modality: str) -> Projection:
        if self.config.tie == "transformer+projection":
            return self.projection
        return self.image_projection if modality == "image" else self.text_projection


def make(config: ConfigDict) -> DualEncoder:
    """The model of a whole run's config, in its compute dtype."""
    return DualEncoder(FrozenConfigDict(config.model), jnp.dtype(config.compute_dtype))
