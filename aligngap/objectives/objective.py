"""From `config.objective` to the one number that training minimises."""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from aligngap.config import MODALITIES
from aligngap.objectives.contrastive import Contrastive
from aligngap.objectives.divergence import CauchySchwarz, median_sigma
from aligngap.objectives.refinement import Distillation, RandomAlignment
from aligngap.objectives.separation import Separation
from aligngap.objectives.sigmoid import Sigmoid
from aligngap.objectives.terms import (
    CENTROIDS,
    CROSS,
    Between,
    Pairs,
    Raw,
    Term,
    evaluate,
    make_pairs,
)
from aligngap.objectives.uniformity import Alignment, Uniformity

Terms = dict[str, Float[Array, ""]]
Objective = Callable[..., tuple[Float[Array, ""], Terms]]


def total(config: ConfigDict) -> Objective:
    """f(image, text, scale, bias, semantics, groups, raw) → (loss, terms before their weights).

    `config` is the run's config or its `objective` part. A term of weight 0 is not computed. Equal
    `groups` are no negatives of each other where `mask_duplicates` asks for it. `raw` is for terms
    that read embeddings before they are brought to length 1.
    """
    objective = config.get("objective", config)

    def loss(
        image: Float[Array, "B D"],
        text: Float[Array, "B D"],
        scale: Float[Array, ""],
        bias: Float[Array, ""] | None = None,
        semantics: Float[Array, "B S"] | None = None,
        groups: Int[Array, "B"] | None = None,
        raw: Raw | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        semantics = semantics if objective.semantic_rescaling else None
        groups = groups if objective.mask_duplicates != "none" else None
        batch = make_pairs(
            image, text, scale, bias=bias, semantics=semantics, groups=groups, raw=raw
        )
        batch = _with_sigma(objective, batch)
        weighed = list(_terms(objective, semantics is not None, groups is not None))
        values = evaluate([term for _, _, term in weighed], batch, objective.tile or None)
        terms = {name: value for (name, _, _), value in zip(weighed, values, strict=True)}
        weighted = sum((weight * terms[name] for name, weight, _ in weighed), jnp.zeros(()))
        return weighted, terms

    return loss


def matrices(config: ConfigDict) -> dict[Between, bool]:
    """The matrices of cosines that the objective of a run's config, or of its `objective` part,
    holds or streams; True where it holds those of the semantics beside them."""
    objective = config.get("objective", config)
    found: dict[Between, bool] = {}
    for _, _, term in _terms(objective, objective.semantic_rescaling, False):
        for between, reductions in term.needs.items():
            own = any(reduction.semantics for reduction in reductions)
            found[between] = found.get(between, False) or own
    return found


def reads_raw(config: ConfigDict) -> bool:
    """Whether a term reads embeddings before they are brought to length 1."""
    return bool(config.objective.random_alignment_weight) or distils(config)


def distils(config: ConfigDict) -> bool:
    """Whether a term reads what the model made of the pairs before it was trained."""
    return bool(config.objective.distillation_weight)


def _with_sigma(objective: ConfigDict, batch: Pairs) -> Pairs:
    """The batch with the σ of the Cauchy-Schwarz divergence, where it is wanted."""
    if not objective.cauchy_schwarz_weight:
        return batch
    sigma = objective.cauchy_schwarz_sigma or median_sigma(batch, objective.tile or None)
    return batch._replace(scalars=batch.scalars._replace(sigma=jnp.asarray(sigma, jnp.float32)))


def _terms(
    objective: ConfigDict, rescaled: bool, masked: bool
) -> Iterator[tuple[str, float, Term]]:
    """(name, weight, term) of every term that has a weight."""
    every: list[tuple[str, float, Term]] = [
        (
            "contrastive",
            objective.contrastive_weight,
            Contrastive(objective.label_smoothing, masked),
        ),
        ("sigmoid", objective.sigmoid_weight, Sigmoid(masked)),
        ("alignment", objective.alignment_weight, Alignment()),
        (
            "cross_uniformity",
            objective.cross_uniformity_weight,
            Uniformity(CROSS, objective.uniformity_t),
        ),
        (
            "centroid_uniformity",
            objective.centroid_uniformity_weight,
            Uniformity(CENTROIDS, objective.uniformity_t),
        ),
        ("cauchy_schwarz", objective.cauchy_schwarz_weight, CauchySchwarz()),
        ("random_alignment", objective.random_alignment_weight, RandomAlignment()),
        (
            "distillation",
            objective.distillation_weight,
            Distillation(objective.distillation_alpha),
        ),
    ]
    for modality in objective.separated:
        separation = Separation(modality, rescaled)
        every.append((f"separation_{modality}", objective.separation_weight, separation))
    for modality in MODALITIES:
        weight = 0.5 * objective.uniformity_weight  # ½ Σ over the modalities
        own = Uniformity((modality, modality), objective.uniformity_t)
        every.append((f"uniformity_{modality}", weight, own))
    return (entry for entry in every if entry[1])
