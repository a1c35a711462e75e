"""Numbers that the papers report, to stand beside ours; docs/papers.md says how each is known."""

# Eslami & de Melo 2025: the range of the alignment score from CC3M to CIFAR-10, of models trained
# on CC12M, and zero-shot accuracy at 1 and 5 of ImageNet, CIFAR-100 and CIFAR-10.
ALIGNCLIP = {
    "clip": ".38–.47",
    "sharedclip": ".54–.62",
    "alignclip": ".62–.67",
}
ALIGNCLIP_ZERO_SHOT = {
    "clip": (".314 / .587", ".281 / .559", ".615 / .956"),
    "alignclip": (".328 / .606", ".365 / .664", ".693 / .978"),
}
# Fahim et al. 2024, authors' logs, OpenAI's ViT-B/32 fine-tuned on COCO, three seeds: (D, method) →
# separability, centroid distance, uniformity, cross-uniformity, alignment loss, R@1, 5 and 10 of
# image → text, then of text → image.
CONTRASTIVE_GAP = {
    (32, "clip"): (0.78, 0.104, -1.50, -1.52, 0.18, 0.239, 0.525, 0.661, 0.239, 0.526, 0.664),
    (32, "cua"): (0.59, 0.074, -3.48, -3.51, 0.38, 0.228, 0.502, 0.639, 0.218, 0.495, 0.625),
    (32, "cuaxu"): (0.68, 0.122, -3.61, -3.67, 0.48, 0.239, 0.524, 0.658, 0.241, 0.520, 0.655),
    (64, "clip"): (1.00, 0.314, -1.61, -1.82, 0.35, 0.260, 0.552, 0.683, 0.254, 0.548, 0.684),
    (64, "cua"): (0.65, 0.069, -3.60, -3.62, 0.45, 0.251, 0.535, 0.668, 0.245, 0.529, 0.661),
    (64, "cuaxu"): (0.78, 0.136, -3.70, -3.77, 0.61, 0.259, 0.548, 0.682, 0.250, 0.541, 0.674),
    (128, "clip"): (1.00, 0.661, -1.91, -2.82, 0.87, 0.275, 0.566, 0.702, 0.269, 0.565, 0.693),
    (128, "cua"): (0.73, 0.082, -3.65, -3.69, 0.54, 0.258, 0.543, 0.678, 0.254, 0.541, 0.665),
    (128, "cuaxu"): (0.83, 0.127, -3.75, -3.82, 0.73, 0.266, 0.558, 0.689, 0.270, 0.559, 0.687),
}
# The same: zero-shot on ImageNet, DTD, Caltech101, CIFAR-10 and CIFAR-100, and SIMAT's score.
CONTRASTIVE_GAP_FURTHER = {
    (32, "clip"): (0.118, 0.078, 0.413, 0.744, 0.296, 37.2),
    (32, "cua"): (0.124, 0.084, 0.457, 0.762, 0.308, 37.9),
    (32, "cuaxu"): (0.128, 0.087, 0.464, 0.745, 0.314, 36.9),
    (64, "clip"): (0.132, 0.096, 0.421, 0.769, 0.322, 38.4),
    (64, "cua"): (0.140, 0.086, 0.478, 0.768, 0.324, 40.7),
    (64, "cuaxu"): (0.150, 0.089, 0.471, 0.768, 0.339, 39.4),
    (128, "clip"): (0.133, 0.099, 0.417, 0.764, 0.318, 35.6),
    (128, "cua"): (0.138, 0.099, 0.483, 0.780, 0.335, 42.5),
    (128, "cuaxu"): (0.148, 0.093, 0.486, 0.771, 0.345, 41.7),
}
# Liang et al. 2022, authors' code, OpenAI's ViT-B/32 on 5,000 pairs of COCO: the gap without a
# shift, and what is moved → δ → gap.
UNSHIFTED = 0.822
SHIFTED = {
    "both": {
        **{-1.0: 1.413, -0.75: 1.305, -0.5: 1.173, -0.25: 1.013},
        **{0.25: 0.600, 0.5: 0.350, 0.75: 0.084},
    },
    "image": {-1.0: 1.288, -0.5: 1.135, -0.25: 1.005, 0.25: 0.584, 0.5: 0.318, 0.75: 0.070},
}
SIGMOID_COSINE = 0.99  # The same: mean cosine after two layers of a random MLP with sigmoids.
# Yaras et al. 2024, a ResNet-50 trained on COCO: gap, text → image R@1.
YARAS = {"clip": (0.294, 0.682), "scheduled": (0.088, 0.757), "soft_swap": (0.139, 0.689)}
# CL_gap, COCO: gap, R@1, V-measure; CLIP with a learnt temperature.
CL_GAP = {"clip": (0.47, 0.746, 0.1298), "cl_gap": (0.03, 0.703, 0.2363)}
