"""A module of sentence-transformers: `SentenceTransformer(modules=[..., GapModule(transform)])`
encodes without the gap."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from aligngap.errors import AligngapError
from aligngap.gap.transforms import GapTransform

try:
    from sentence_transformers.base.modules import Module
except ImportError as error:
    raise AligngapError(
        "aligngap.gap.stores.sentence_transformers needs sentence-transformers; install it with: "
        "pip install 'sentence-transformers>=6'"
    ) from error
import torch

FOLDER = "transform"


class GapModule(Module):
    """Embeddings [n, D] → [n, K]: images by `transform.image`, texts by `transform.text`, what
    `encode_query` is given by `transform.query`, and further modalities that the transform was
    fitted on by their names. It computes on the CPU and has no gradient."""

    forward_kwargs = {"task"}  # noqa: RUF012  # The library's own: "query", "document" or None.

    def __init__(self, transform: GapTransform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """AligngapError for a modality that the transform does not know, and for rows that are no
        embeddings."""
        given = features["sentence_embedding"]
        rows = given.detach().float().cpu().numpy()
        modality = features.get("modality", "text")
        asked = modality == "text" and task == "query"
        changed = self.transform.apply("query" if asked else modality, rows)
        features["sentence_embedding"] = torch.from_numpy(changed).to(given)
        return features

    def get_embedding_dimension(self) -> int:
        """K."""
        return self.transform.width

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """As `SentenceTransformer.save`, which replaces what was there."""
        target = Path(output_path, FOLDER)
        with tempfile.TemporaryDirectory(dir=output_path) as fresh:
            self.transform.save(Path(fresh, FOLDER))
            shutil.rmtree(target, ignore_errors=True)
            Path(fresh, FOLDER).replace(target)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> "GapModule":
        """From a folder or a model of the hub; SentenceTransformer needs `trust_remote_code=True`
        for modules that are not its own. AligngapError for a transform that was changed."""
        known = ("token", "cache_folder", "revision", "local_files_only")
        where = {name: kwargs[name] for name in known if name in kwargs}
        found = cls.load_dir_path(model_name_or_path, subfolder=subfolder, **where)
        return cls(GapTransform.load(Path(found or subfolder, FOLDER)))
