"""open_clip's CLIP, trained by plain torch; its own loss is that of torch_step on one device."""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch

if not torch.cuda.is_available() and importlib.util.find_spec("torchvision"):
    # The build of torchvision for CPUs may lack its compiled operators; open_clip uses none.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import open_clip

from aligngap.benchmarks.peers.step_job import StepJob, serve
from aligngap.benchmarks.peers.torch_step import trainer


def make() -> tuple[Callable[[int], None], dict[str, Any]]:
    """The steps of a model from the job's folder."""
    job = StepJob.given()
    model = open_clip.create_model(f"local-dir:{job.folder}")
    if job.tied != "none":
        model.transformer, model.ln_final = model.visual.transformer, model.visual.ln_post
    if job.tied == "transformer+projection":
        model.text_projection = model.visual.proj

    def encode(pixels: Any, ids: Any) -> tuple[Any, Any]:
        image = model.encode_image(pixels, normalize=True)
        return image, model.encode_text(ids, normalize=True)

    return trainer(job, model, encode, f"open_clip {open_clip.__version__}")


if __name__ == "__main__":
    serve(make)
