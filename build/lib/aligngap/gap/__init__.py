"""What the gap between two clouds of embeddings is."""

from aligngap.gap.clouds import summary
from aligngap.gap.embedding_shift import shift, signed_gap
from aligngap.gap.measures import (
    alignment_score,
    centroid_distance,
    cross_uniformity,
    gap_vector,
    linear_separability,
    mean_pairwise_cosine,
    relative_modality_gap,
    uniformity,
)
from aligngap.gap.neighbours import paired_ranks, same_modality_neighbours
from aligngap.gap.spectrum import effective_rank, explained_variance
from aligngap.gap.transforms import GapTransform, ScoreCalibration

__all__ = [
    "GapTransform",
    "ScoreCalibration",
    "alignment_score",
    "centroid_distance",
    "cross_uniformity",
    "effective_rank",
    "explained_variance",
    "gap_vector",
    "linear_separability",
    "mean_pairwise_cosine",
    "paired_ranks",
    "relative_modality_gap",
    "same_modality_neighbours",
    "shift",
    "signed_gap",
    "summary",
    "uniformity",
]
