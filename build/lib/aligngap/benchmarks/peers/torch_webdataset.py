"""torch's DataLoader over the library webdataset, as open_clip trains from shards.

Shards are drawn at random and their records shuffled in a buffer; torchvision's RandomResizedCrop
as it works on Pillow's images (decode, crop, resize). Left out, in its favour: floats, and
normalising. `job.draft` is what Pillow can and its users do not do: decode at a part of the size.
"""

import io
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image

from aligngap.benchmarks.peers.job import Ids, Job, measure

BUFFER = 1000  # Records that are shuffled; filled before the first is given.


def batches(job: Job) -> Iterator[tuple[Any, Any]]:
    """Endless."""
    torch.set_num_threads(1)
    records = webdataset.WebDataset(list(job.shards), resampled=True).shuffle(
        BUFFER, initial=BUFFER
    )
    crop, ids = Crop(job), Ids(job)

    def row(text: str | bytes) -> torch.Tensor:
        return torch.from_numpy(ids([text if isinstance(text, str) else text.decode()])[0])

    if job.draft:
        records = records.map_dict(jpg=crop.drafted, txt=row)
    else:
        records = records.decode("pil").map_dict(jpg=crop, txt=row)
    rows = records.to_tuple("jpg", "txt").batched(job.batch_size, partial=False)
    return iter(torch.utils.data.DataLoader(rows, batch_size=None, num_workers=job.workers))


class Crop:
    """torchvision's RandomResizedCrop, bicubic."""

    def __init__(self, job: Job) -> None:
        self._size, self._scale, self._ratio = job.image_size, job.scale, job.ratio

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self._resized(image.crop(self._box(image)))

    def drafted(self, encoded: bytes) -> torch.Tensor:
        """Of the smallest decode, of those libjpeg has, that is at least as fine as the crop."""
        image = Image.open(io.BytesIO(encoded))
        box = self._box(image)
        finer = min(box[2] - box[0], box[3] - box[1]) / self._size
        n = next((n for n in (8, 4, 2) if n <= finer), 1)
        image.draft("RGB", (image.width // n, image.height // n))
        return self._resized(image.convert("RGB"), tuple(side / n for side in box))

    def _resized(self, image: Image.Image, box: Any = None) -> torch.Tensor:
        size = (self._size, self._size)
        return torch.from_numpy(np.array(image.resize(size, Image.Resampling.BICUBIC, box)))

    def _box(self, image: Image.Image) -> tuple[int, int, int, int]:
        width, height = image.size
        for _ in range(10):
            area = random.uniform(*self._scale) * width * height
            aspect = math.exp(random.uniform(*map(math.log, self._ratio)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = random.randint(0, width - w), random.randint(0, height - h)
                return left, top, left + w, top + h
        # The largest part in the middle whose shape is allowed.
        low, high = self._ratio
        w, h = min(width, round(height * high)), min(height, round(width / low))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h


if __name__ == "__main__":
    job = Job.given()
    measure(job, batches(job))
