"""From `config.objective` to the one number that training minimises."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from aligngap.objectives.contrastive import contrastive_loss
from aligngap.objectives.separation import separation_loss

Terms = dict[str, Float[Array, ""]]
Objective = Callable[..., tuple[Float[Array, ""], Terms]]


def total(config: ConfigDict) -> Objective:
    """f(image, text, scale, bias, semantics, groups) → (loss, terms before their weights).

    `config` is the run's config or its `objective` part. A term of weight 0 is not computed.
    """
    objective = config.get("objective", config)

    def loss(
        image: Float[Array, "B D"],
        text: Float[Array, "B D"],
        scale: Float[Array, ""],
        bias: Float[Array, ""] | None = None,
        semantics: Float[Array, "B S"] | None = None,
        groups: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        del bias  # Only the sigmoid loss has one.
        terms: Terms = {}
        weights: dict[str, float] = {}
        if objective.contrastive_weight:
            weights["contrastive"] = objective.contrastive_weight
            terms["contrastive"] = contrastive_loss(
                image,
                text,
                scale,
                groups=groups if objective.mask_same_concept else None,
                label_smoothing=objective.label_smoothing,
            )
        if objective.separation_weight:
            rescale = semantics if objective.semantic_rescaling else None
            for modality in objective.separated:
                own, other = (image, text) if modality == "image" else (text, image)
                name = f"separation_{modality}"
                weights[name] = objective.separation_weight
                terms[name] = separation_loss(own, other, scale, semantics=rescale)
        weighted = sum((weights[name] * term for name, term in terms.items()), jnp.zeros(()))
        return weighted, terms

    return loss
