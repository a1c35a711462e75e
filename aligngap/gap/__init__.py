"""What the gap between two clouds of embeddings is."""

from aligngap.gap.measures import (
    alignment_score,
    centroid_distance,
    cross_uniformity,
    gap_vector,
    linear_separability,
    mean_pairwise_cosine,
    relative_modality_gap,
    summary,
    uniformity,
)

__all__ = [
    "alignment_score",
    "centroid_distance",
    "cross_uniformity",
    "gap_vector",
    "linear_separability",
    "mean_pairwise_cosine",
    "relative_modality_gap",
    "summary",
    "uniformity",
]
