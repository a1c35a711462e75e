"""What our parameters are called, as a function of what a model ties."""

from ml_collections import ConfigDict


def transformer(model: ConfigDict, modality: str) -> str:
    """Prefix of the transformer that a modality goes through."""
    return "transformer/" if model.tie != "none" else f"{modality}_transformer/"


def projection(model: ConfigDict, modality: str) -> str:
    """Prefix of the projection of a modality."""
    tied = model.tie == "transformer+projection"
    return "projection/" if tied else f"{modality}_projection/"
