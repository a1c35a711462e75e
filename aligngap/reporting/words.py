"""Words of both pages: what a measure is called and how to read it, numbers as they are printed."""

import math

GAP = "centroid_distance"  # The measure that both pages lead with.
# measure: (name, how to read it)
MEASURES = {
    "centroid_distance": ("Gap: distance between the centroids", "0 closed, 2 opposite"),
    "alignment_score": ("Alignment: mean cosine of pairs", "1 where pairs coincide"),
    "relative_modality_gap": (
        "Relative modality gap",
        "0 where pairs coincide, 0.5 where a pair is as far apart as two rows of one modality",
    ),
    "linear_separability": (
        "Linear separability of the modalities",
        "accuracy; 0.5 mixed, 1 separate",
    ),
    "uniformity_image": ("Uniformity of images", "0 collapsed, lower is more spread"),
    "uniformity_text": ("Uniformity of captions", "0 collapsed, lower is more spread"),
    "cross_uniformity": ("Cross-uniformity", "of unmatched pairs; lower is more spread"),
    "mean_pairwise_cosine_image": ("Mean cosine between images", "1 is a single point"),
    "mean_pairwise_cosine_text": ("Mean cosine between captions", "1 is a single point"),
    "effective_rank_image": ("Effective rank of images", "dimensions in use; 1 is a line"),
    "effective_rank_text": ("Effective rank of captions", "dimensions in use; 1 is a line"),
    "explained_variance@1_image": ("Variance of images in 1 component", "1 is a line"),
    "explained_variance@1_text": ("Variance of captions in 1 component", "1 is a line"),
    "explained_variance@10_image": ("Variance of images in 10 components", "share of all of it"),
    "explained_variance@10_text": ("Variance of captions in 10 components", "share of all of it"),
    "same_modality_neighbours": (
        "Nearest neighbours of the same modality",
        "share; 1 apart, about 0.5 mixed, 0 where each is nearest to its pair",
    ),
    "paired_median_rank_image_to_text": ("Median rank of an image's own caption", "1 is best"),
    "paired_median_rank_text_to_image": ("Median rank of a caption's own image", "1 is best"),
    "paired_mean_reciprocal_rank_image_to_text": (
        "Mean reciprocal rank of an image's own caption",
        "1 is best",
    ),
    "paired_mean_reciprocal_rank_text_to_image": (
        "Mean reciprocal rank of a caption's own image",
        "1 is best",
    ),
    "paired_recall@1_image_to_text": ("Own caption is the nearest", "share of images"),
    "paired_recall@5_image_to_text": ("Own caption among the nearest 5", "share of images"),
    "paired_recall@10_image_to_text": ("Own caption among the nearest 10", "share of images"),
    "paired_recall@1_text_to_image": ("Own image is the nearest", "share of captions"),
    "paired_recall@5_text_to_image": ("Own image among the nearest 5", "share of captions"),
    "paired_recall@10_text_to_image": ("Own image among the nearest 10", "share of captions"),
}


def percent(share: float, digits: int = 1) -> str:
    """0.196 → 19.6 %, not to be broken over lines."""
    return f"{100 * share:.{digits}f}\u202f%" if math.isfinite(share) else "not measured"


def decimal(value: float, digits: int = 2) -> str:
    """Rounded, with a real minus sign and none before zero."""
    if not math.isfinite(value):
        return "not measured"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """As `decimal`, with its sign, which 0 has too: +0.213, −0.050."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")
