"""The experiments that explained the gap, a file or a folder each: `aligngap gap NAME`.

Each room has `add_flags(parser)`, `run(arguments) -> Result`, and its settings' defaults in flags;
what several of them use stands in `shared/`. The papers: Liang et al. 2022 (arXiv 2203.02053),
Fahim et al. 2024 (arXiv 2405.18570), Role et al. 2025 (arXiv 2505.03703).
"""

# name: what `aligngap gap --help` says of it. The room has the same name.
EXPERIMENTS = {
    "advise": "which transform gains in which task, judged by pairs that it was not fitted on",
    "arithmetic": "an image less one word plus another: is the nearest image what that makes",
    "bias": "what each group of images is matched to, as the clouds are moved along the gap",
    "close": "close the gap of embeddings after training, retrieval before and after",
    "clustering": "k-means over both modalities together against classes",
    "cone": "mean cosine through random networks: the cone of each initialisation",
    "dimension": "the gap against the size of the embedding",
    "idealised": "identical images as pairs: the gap that the loss opens by itself",
    "init": "initialisation against optimisation: the gap from a start that has none",
    "intra_modal": "image-to-image and text-to-text retrieval by class",
    "methods": "what every transform does to mixed search, over seeds of models",
    "mismatch": "the gap against the share of shuffled captions",
    "object_bias": "whether objects count for more than attributes in each modality",
    "perturbation": "retrieval and accuracy under noise, and in one byte or bit a dimension",
    "probe": "linear and few-shot probes",
    "search": "a pool of images and texts: NDCG, recall and MRR against the share of images",
    "shift": "loss and retrieval as the clouds are moved along the gap",
    "sphere": "six pairs on a sphere: where the loss wants the captions",
    "substitution": "a classifier trained on one modality, tested on the other",
    "temperature": "the gap against a fixed temperature, trained on from a checkpoint",
    "text_similarity": "cosines of sentences against people's scores",
}
# Those that make or train models, all others work on embeddings in files or on points.
WITH_MODELS = ("cone", "dimension", "idealised", "init", "mismatch", "temperature")
