"""transformers' CLIPModel, trained by plain torch."""

from collections.abc import Callable
from typing import Any

import transformers
from torch.nn import functional
from transformers import CLIPModel

from aligngap.benchmarks.peers.step_job import StepJob, serve
from aligngap.benchmarks.peers.torch_step import trainer


def make() -> tuple[Callable[[int], None], dict[str, Any]]:
    """The steps of a model from the job's folder."""
    job = StepJob.given()
    model = CLIPModel.from_pretrained(job.folder)
    image, text = model.vision_model, model.text_model
    if job.tied != "none":
        text.encoder, text.final_layer_norm = image.encoder, image.post_layernorm
    if job.tied == "transformer+projection":
        model.text_projection = model.visual_projection

    def encode(pixels: Any, ids: Any) -> tuple[Any, Any]:
        pooled = image(pixel_values=pixels).pooler_output, text(input_ids=ids).pooler_output
        projected = model.visual_projection(pooled[0]), model.text_projection(pooled[1])
        return functional.normalize(projected[0]), functional.normalize(projected[1])

    return trainer(job, model, encode, f"transformers {transformers.__version__}")


if __name__ == "__main__":
    serve(make)
