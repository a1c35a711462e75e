"""For open_clip, which imports torchvision and uses none of its compiled operators."""

import torch

OPERATORS = ("nms", "qnms")


def declare() -> None:
    """Declares the operators that torchvision's build for CPUs lacks, where it lacks them."""
    if torch.cuda.is_available():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    KEPT.append(library)


KEPT: list[torch.library.Library] = []  # A library that is gone takes its operators along.
