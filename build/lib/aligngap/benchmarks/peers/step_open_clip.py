"""open_clip's CLIP, trained by plain torch; its own loss is that of torch_step on one device."""

from collections.abc import Callable
from typing import Any

from aligngap.benchmarks.peers.torchvision_stubs import declare

declare()

import open_clip  # noqa: E402

from aligngap.benchmarks.peers.step_job import StepJob, serve  # noqa: E402
from aligngap.benchmarks.peers.torch_step import trainer  # noqa: E402


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
