"""A model in float16: its arrays, and what that costs it on pairs that it never saw."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aligngap.data import corpora, eval_set
from aligngap.errors import AligngapError
from aligngap.runs.model import Model
from aligngap.tasks import retrieval

MOST = 2048  # Images that the cost is measured on.
SHOWN = {"text_retrieval_recall@10": "image → text", "image_retrieval_recall@10": "text → image"}


def rounded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each in float16; AligngapError for one that is beyond it."""
    for name, array in arrays.items():
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            raise AligngapError(f"{name} has values beyond float16's 65,504: --dtype=float32")
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def cost(model: Model) -> str:
    """A sentence for the card, of the first images of the run's validation split; "" for a model
    that was not trained here, or whose corpus is not at hand."""
    if not model.step:
        return ""
    try:
        split = corpora.validation_split(model.config)
        data = eval_set.read(model.config, split)
    except AligngapError:
        return ""
    pictures = [data.image(row) for row in range(min(len(data.source), MOST))]
    image_group = data.image_group[: len(pictures)]
    asked = np.flatnonzero(np.isin(data.text_group, image_group))
    texts, text_group = [data.texts[row] for row in asked], data.text_group[asked]
    half = dataclasses.replace(model, params=jax.tree.map(_through_half, model.params))
    before, after = ((m.encode_image(pictures), m.encode_text(texts)) for m in (model, half))
    moved = max(float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True))
    values = [retrieval.values(*rows, image_group, text_group) for rows in (before, after)]
    recalls = "; ".join(
        f"{way} {values[1][key]:.4f}, in float32 {values[0][key]:.4f}" for key, way in SHOWN.items()
    )
    return (
        f"Of {len(pictures):,} images and {len(texts):,} captions of `{split}`, no entry of an "
        f"embedding moves by more than {np.ceil(moved * 1e5) / 1e5:.5f}. R@10 among them: "
        f"{recalls}."
    )


def _through_half(array: Any) -> Any:
    return array.astype(jnp.float16).astype(array.dtype)
