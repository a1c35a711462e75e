"""What the papers claim, as comparisons that runs decide: each can be read, checked and changed.

The numbers of the papers are those of docs/papers.md, where it also says how each is known.
"""

from dataclasses import dataclass

HELD_OUT = ("test_unseen_style", "test_unseen_concept", "test_unseen_both")
# Measures, EVALUATOR/NAME; of several their mean counts.
GAP = ("gap/centroid_distance",)
ALIGNMENT = ("gap/alignment_score",)
SEPARABLE = ("gap/linear_separability",)
NEIGHBOURS = ("gap/same_modality_neighbours",)
TO_TEXT = ("retrieval/text_retrieval_recall@10",)
TO_IMAGE = ("retrieval/image_retrieval_recall@10",)
RETRIEVAL = TO_TEXT + TO_IMAGE
FIRST_IMAGE = ("retrieval/image_retrieval_recall@1",)
FIRST = ("retrieval/text_retrieval_recall@1", *FIRST_IMAGE)
ZERO_SHOT = ("zero_shot/group/acc1",)
CLUSTERS = ("clustering/group/pooled/v_measure",)
# λ = 1, as in SIMAT's score; changes of these kinds are in this split.
ARITHMETIC = ("arithmetic/colour/scale_1", "arithmetic/hair/scale_1", "arithmetic/gender/scale_1")

ALIGNCLIP = "AlignCLIP"
CONTRASTIVE_GAP = "It's Not a Modality Gap"
YARAS = "Yaras et al."
CL_GAP = "CL_gap"
CS_ALIGNER = "CS-Aligner"
HERE = "none: this study"


@dataclass(frozen=True)
class Claim:
    """`first` reaches more (or less) than `second` in a measure; with a margin, at most so much
    less (or more), which is what "as good" means here. Judged on each of the splits."""

    paper: str
    says: str
    theirs: str  # The paper's own numbers, of its models and data; "": none is known.
    first: str
    second: str
    measures: tuple[str, ...]
    higher: bool
    margin: float = 0.0
    splits: tuple[str, ...] = HELD_OUT


def _ours(method: str, name: str) -> tuple[Claim, ...]:
    """That a tied encoder with the losses of It's Not a Modality Gap has a smaller gap than
    AlignCLIP, and finds more than CLIP."""
    return tuple(
        Claim(HERE, says, "", method, second, measures, higher)
        for says, second, measures, higher in (
            (f"{name} has a smaller gap than AlignCLIP", "alignclip", GAP, False),
            (
                f"{name}'s modalities are less separable than AlignCLIP's",
                "alignclip",
                SEPARABLE,
                False,
            ),
            (
                f"{name}'s nearest neighbours are less often of the same modality than AlignCLIP's",
                "alignclip",
                NEIGHBOURS,
                False,
            ),
            (f"{name} finds texts better than CLIP", "clip", TO_TEXT, True),
            (f"{name} finds images better than CLIP", "clip", TO_IMAGE, True),
            (
                f"A pool of images and texts is searched better than with AlignCLIP by {name}",
                "alignclip",
                ("search/ndcg@10/p0.5",),
                True,
            ),
        )
    )


CLAIMS = (
    Claim(
        ALIGNCLIP,
        "A shared encoder aligns pairs better than CLIP's two towers",
        "alignment .38–.47 → .54–.62",
        "sharedclip",
        "clip",
        ALIGNMENT,
        higher=True,
    ),
    Claim(
        ALIGNCLIP,
        "Separating images within their modality aligns pairs better still",
        "alignment .54–.62 → .62–.67",
        "alignclip",
        "sharedclip",
        ALIGNMENT,
        higher=True,
    ),
    Claim(
        ALIGNCLIP,
        "AlignCLIP classifies better than CLIP, zero-shot",
        "ImageNet .314 → .328, CIFAR-100 .281 → .365",
        "alignclip",
        "clip",
        ZERO_SHOT,
        higher=True,
    ),
    Claim(
        ALIGNCLIP,
        "SharedCLIP finds images better than AlignCLIP",
        "COCO; no number at hand",
        "sharedclip",
        "alignclip",
        TO_IMAGE,
        higher=True,
    ),
    Claim(
        ALIGNCLIP,
        "Without semantic re-scaling results are worse: classification",
        "",
        "alignclip_unscaled",
        "alignclip",
        ZERO_SHOT,
        higher=False,
    ),
    Claim(
        ALIGNCLIP,
        "Without semantic re-scaling results are worse: retrieval",
        "",
        "alignclip_unscaled",
        "alignclip",
        RETRIEVAL,
        higher=False,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "Uniformity and alignment close the gap",
        "centroids .661 → .082 (D 128)",
        "cua",
        "clip",
        GAP,
        higher=False,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "So they do with cross-uniformity",
        "centroids .661 → .127 (D 128)",
        "cuaxu",
        "clip",
        GAP,
        higher=False,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "Modalities are less separable with CUA",
        "1.00 → .73 (D 128)",
        "cua",
        "clip",
        SEPARABLE,
        higher=False,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "Modalities are less separable with CUAXU",
        "1.00 → .83 (D 128)",
        "cuaxu",
        "clip",
        SEPARABLE,
        higher=False,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "CUAXU retrieves as well as CLIP: at most .02 less",
        "R@10 .702 and .693 → .689 and .687 (D 128)",
        "cuaxu",
        "clip",
        RETRIEVAL,
        higher=True,
        margin=0.02,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "CUAXU classifies better than CLIP, zero-shot",
        "ImageNet .133 → .148 (D 128)",
        "cuaxu",
        "clip",
        ZERO_SHOT,
        higher=True,
    ),
    Claim(
        CONTRASTIVE_GAP,
        "CUAXU is better at image + word − word than CLIP",
        "SIMAT 35.6 → 41.7 (D 128)",
        "cuaxu",
        "clip",
        ARITHMETIC,
        higher=True,
        splits=HELD_OUT[:1],
    ),
    Claim(
        YARAS,
        "A scheduled temperature closes the gap",
        ".294 → .088",
        "scheduled",
        "clip",
        GAP,
        higher=False,
    ),
    Claim(
        YARAS,
        "A scheduled temperature finds images better",
        "R@1 68.2 → 75.7",
        "scheduled",
        "clip",
        FIRST_IMAGE,
        higher=True,
    ),
    Claim(
        YARAS,
        "Soft swapping closes the gap",
        ".294 → .139",
        "soft_swap",
        "clip",
        GAP,
        higher=False,
    ),
    Claim(
        YARAS,
        "Soft swapping finds images as well: at most .02 less",
        "R@1 68.2 → 68.9",
        "soft_swap",
        "clip",
        FIRST_IMAGE,
        higher=True,
        margin=0.02,
    ),
    Claim(
        CL_GAP,
        "Alignment and uniform centroids of pairs close the gap",
        ".47 → .03",
        "cl_gap",
        "clip",
        GAP,
        higher=False,
    ),
    Claim(
        CL_GAP,
        "Images and texts cluster together better by class",
        "V-measure 13.0 → 23.6",
        "cl_gap",
        "clip",
        CLUSTERS,
        higher=True,
    ),
    Claim(
        CL_GAP,
        "At the price of some retrieval",
        "R@1 74.6 → 70.3",
        "cl_gap",
        "clip",
        FIRST,
        higher=False,
    ),
    Claim(
        CS_ALIGNER,
        "The Cauchy–Schwarz divergence brings the modalities together",
        "",
        "cauchy_schwarz",
        "clip",
        GAP,
        higher=False,
    ),
    *_ours("cuaxu_tied", "Tied CUAXU"),
    *_ours("cua_tied", "Tied CUA"),
)
