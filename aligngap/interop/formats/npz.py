"""Our own parameters by their paths, in a NumPy archive, beside the config they belong to."""

import string
from typing import Any

import flax.linen as nn
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from aligngap import config as configs
from aligngap.interop.mapping import Rule
from aligngap.models import dual_encoder, parameters

FILE = "parameters.npz"
# What of config.data embeddings depend on, and how captions are put together to be measured.
DATA = ("mean", "std", "resize", "tokenizer", "max_keywords")


def rules(model: ConfigDict) -> list[Rule]:
    """Every array under its own name and as it is."""
    config = configs.default()
    config.model = model
    abstract = nn.unbox(parameters.abstract(config, dual_encoder.make(config)))
    found = []
    for name, array in flatten_dict(abstract, sep="/").items():
        axes = " ".join(string.ascii_lowercase[: array.ndim])
        found.append(Rule(name, name, f"{axes} -> {axes}", {}, {}))
    return found


def write(config: ConfigDict) -> dict[str, Any]:
    """The part of a config that the parameters need."""
    data = {name: config.data[name] for name in DATA}
    return {"name": config.name, "model": config.model.to_dict(), "data": data}


def fields(given: dict[str, Any]) -> dict[str, Any]:
    """What `write` wrote → fields of the config, flat."""
    known = configs.complete({"model": given.get("model") or {}})["model"]
    found = {f"model.{name}": value for name, value in configs.keys(known).items()}
    data = given.get("data") or {}
    return found | {f"data.{name}": data[name] for name in DATA if name in data}
