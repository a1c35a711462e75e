"""The losses of the papers. Embeddings are [B, D] with L2-normalised rows; values float32."""

from aligngap.objectives.contrastive import contrastive_loss
from aligngap.objectives.divergence import cauchy_schwarz_loss
from aligngap.objectives.objective import total
from aligngap.objectives.refinement import distillation_loss, random_alignment_loss
from aligngap.objectives.separation import separation_loss
from aligngap.objectives.sigmoid import sigmoid_loss
from aligngap.objectives.uniformity import (
    alignment_loss,
    centroid_uniformity_loss,
    cross_uniformity_loss,
    uniformity_loss,
)

__all__ = [
    "alignment_loss",
    "cauchy_schwarz_loss",
    "centroid_uniformity_loss",
    "contrastive_loss",
    "cross_uniformity_loss",
    "distillation_loss",
    "random_alignment_loss",
    "separation_loss",
    "sigmoid_loss",
    "total",
    "uniformity_loss",
]
