"""The losses of the three papers. Embeddings are [B, D] with L2-normalised rows; values float32."""

from aligngap.objectives.contrastive import contrastive_loss
from aligngap.objectives.objective import total
from aligngap.objectives.separation import separation_loss
from aligngap.objectives.sigmoid import sigmoid_loss
from aligngap.objectives.uniformity import alignment_loss, cross_uniformity_loss, uniformity_loss

__all__ = [
    "alignment_loss",
    "contrastive_loss",
    "cross_uniformity_loss",
    "separation_loss",
    "sigmoid_loss",
    "total",
    "uniformity_loss",
]
