"""What pages and maps show of a split: its texts, pictures of its images, embeddings to draw."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL.Image import Image

from aligngap.data import images
from aligngap.data.eval_set import EvalSet
from aligngap.evaluation.gap import SEED
from aligngap.evaluation.subject import Embedded
from aligngap.parallel import distributed

GALLERY = 12  # Images of each split that reports show.
THUMBNAIL = 64  # Pixels a side of what reports and maps show of an image.


class Thumbnails:
    """Filled by `see` while images are embedded, by each process those that it decodes."""

    def __init__(self, count: int) -> None:
        self._own = np.zeros((count, THUMBNAIL, THUMBNAIL, 3), np.uint8)

    def see(self, row: int, image: Image) -> None:
        """Row `row` of the split."""
        self._own[row] = images.resize(image, THUMBNAIL)

    def all(self) -> UInt8[np.ndarray, "N T T 3"]:
        """Those of all processes."""
        return distributed.merged(self._own)


def arrays(
    data: EvalSet, clouds: Mapping[str, Embedded], pictures: UInt8[np.ndarray, "N T T 3"]
) -> dict[str, np.ndarray]:
    """Embeddings at each moment, texts, labels, and which images a page shows.

    `pair_*` have a row an image, as `aligngap gap` reads pairs.
    """
    own, texts = data.image_text, np.array(data.texts)
    count = len(own)
    shown = np.random.default_rng(SEED).choice(count, size=min(GALLERY, count), replace=False)
    found = {
        "image_caption": own,
        "image_label": _labels(data),
        "captions": texts,
        "caption_group": data.text_group,
        "pair_caption": texts[own],
        "pair_picture": pictures,
        "gallery_rows": shown,
    }
    found |= {kind: np.array(classes) for kind, classes in data.labels.items()}
    for moment, (image, text) in clouds.items():
        found |= {f"{moment}/image": image, f"{moment}/text": text}
        found[f"{moment}/pair_text"] = text[own]
    return found


def _labels(data: EvalSet) -> np.ndarray:
    """What a page says of an image beside its caption: its class of the corpus's first kind."""
    classes = next(iter(data.labels.values()), [""] * len(data.source))
    return np.array(classes)
