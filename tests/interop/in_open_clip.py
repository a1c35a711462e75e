"""Runs in an environment that has open_clip: embeds with the model of each folder.

    python in_open_clip.py FOLDER...

FOLDER/given.npz: pixels [N, R, R, 3] normalised, ids [C, L], texts [T], PNG files. It leaves
FOLDER/found.npz: image, text, tokens [T, L], pixels as its preprocessing makes them of the files.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch

# torchvision's compiled operators lack in its build for CPUs; open_clip imports it and uses none.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import open_clip  # noqa: E402
from PIL import Image  # noqa: E402


def embed(folder: Path) -> dict[str, np.ndarray]:
    given = np.load(folder / "given.npz")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    files = [Image.open(io.BytesIO(bytes(given[f"png/{i}"]))) for i in range(int(given["files"]))]
    with torch.no_grad():
        pixels = torch.tensor(given["pixels"]).permute(0, 3, 1, 2)
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(torch.tensor(given["ids"], dtype=torch.long), normalize=True)
    return {
        "image": image.numpy(),
        "text": text.numpy(),
        "tokens": tokenize([str(text) for text in given["texts"]]).numpy(),
        "pixels": np.stack([preprocess(file).permute(1, 2, 0).numpy() for file in files]),
    }


for path in sys.argv[1:]:
    np.savez(Path(path) / "found.npz", **embed(Path(path)))
