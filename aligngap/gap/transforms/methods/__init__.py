"""The methods by name, a room each with its paper and formula."""

from aligngap.gap.transforms.methods import (
    coral,
    mean,
    principal,
    procrustes,
    realign,
    ridge,
    spectral,
    standardise,
    text_principal,
    transport,
    whiten,
)
from aligngap.gap.transforms.methods.contract import Method

SHRINKAGE = {"shrinkage": 0.01}

# The simplest first: of those that data do not tell apart `gap advise` names the first.
METHODS = {
    "mean": Method(mean.fit),
    "standardise": Method(standardise.fit),
    "whiten": Method(whiten.fit, lambda width, _: width + 1, SHRINKAGE),
    "coral": Method(coral.fit, lambda width, _: width + 1, SHRINKAGE),
    "realign": Method(realign.fit),
    "principal": Method(
        principal.fit,
        lambda _, options: int(options["components"]) + 1,
        {"components": lambda width: max(1, width // 100)},
    ),
    "text_principal": Method(
        text_principal.fit,
        lambda _, options: int(options["components"]) + 1,
        {"components": lambda width: width // 2},
        reads=lambda modality: modality == "text",
    ),
    "procrustes": Method(procrustes.fit, lambda width, _: width + 1, paired=True),
    "ridge": Method(
        ridge.fit,
        lambda width, options: 2 if options["shrinkage"] else width + 1,
        {"shrinkage": 0.9},
        paired=True,
    ),
    "spectral": Method(
        spectral.fit,
        lambda _, options: int(options["eigenvectors"]) + 2,
        {"eigenvectors": 32, "most": 8000},
        reads=lambda modality: modality != "query",
        further=False,
    ),
    "transport": Method(
        transport.fit,
        lambda width, options: 4,  # of neighbours that its graphs have
        {"strength": 100.0, "iterations": 10, "most": 2000},
        reads=lambda modality: modality != "query",
    ),
}
