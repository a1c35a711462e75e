"""Runs with jax and numpy alone, in a process of its own: the snippet of each folder's README.md.

    python -I in_jax.py FOLDER...

FOLDER/given.npz: pixels [N, R, R, 3], ids [C, L]. It leaves FOLDER/found.npz: image [N, D] and
text [C, D], encoded one row first and then seven at a time; shapes of what the snippet itself made.
"""

import os
import re
import sys
from importlib.metadata import requires
from pathlib import Path

needed = (re.match(r"[\w.-]+", line)[0] for line in requires("jax") if "extra" not in line)
KNOWN = {"jax", "flatbuffers", *needed} | sys.stdlib_module_names


class Only:
    """A finder of jax, what it needs, and flatbuffers: nothing else is installed."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        # The standard library's own settings have the machine in their name.
        known = name.partition(".")[0] in KNOWN or name.startswith("_sysconfigdata")
        return self.finder.find_spec(name, path, target) if known else None


sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
for absent in ("aligngap", "flax", "tokenizers"):
    try:
        __import__(absent)
        sys.exit(f"{absent} can be imported")
    except ModuleNotFoundError:
        pass

import numpy as np  # noqa: E402


def encode(names, modality, rows):
    encoder = names[f"encode_{modality}"]
    parts = [rows[:1], *(rows[i : i + 7] for i in range(1, len(rows), 7))]
    assert {len(part) for part in parts} == {1, 7}
    return np.concatenate([np.asarray(encoder(names["parameters"], part)) for part in parts])


for folder in sys.argv[1:]:
    os.chdir(folder)
    names = {}
    exec(re.search("```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)[1], names)
    given = np.load("given.npz")
    np.savez(
        "found.npz",
        image=encode(names, "image", given["pixels"]),
        text=encode(names, "text", given["ids"]),
        shapes=[names["image"].shape, names["text"].shape],
    )
