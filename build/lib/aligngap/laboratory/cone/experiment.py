"""The cone of each initialisation: mean cosines through random networks (Liang et al. 2022, §2).

Random MLPs by their activation, then our encoders, layer by layer, on a corpus and on noise; of
their last features, whether 25 initialisations make 25 cones, and what share of the variance that
is. What is measured: measures.py. What is drawn at random: random_mlps.py, random_encoders.py.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from aligngap import progress
from aligngap.errors import UsageError
from aligngap.laboratory.cone import random_encoders, random_mlps
from aligngap.laboratory.cone.figure import draw
from aligngap.laboratory.cone.measures import Cones, Share, cones_of
from aligngap.laboratory.cone.random_encoders import Drawn
from aligngap.laboratory.cone.random_mlps import Layers
from aligngap.laboratory.shared.result import Result

LEAST = {
    **dict.fromkeys(("layers", "width", "image_size"), 1),
    **{"inputs": 2, "repeats": 3, "initialisations": 3, "examples": 10, "resnet_examples": 10},
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Sizes of the MLPs and of the encoders, how many of each, and the seed."""
    random_mlps.add_flags(parser)
    random_encoders.add_flags(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")


def run(arguments: argparse.Namespace) -> Result:
    """Random MLPs, then our encoders on a corpus and on noise of the same shape."""
    _check(arguments)
    encoders = random_encoders.encoders(arguments)  # First, since they need a corpus.
    names = progress.track(
        arguments.activations, "Random MLPs", len(arguments.activations), "activations"
    )
    mlps = {name: random_mlps.through_layers(name, arguments) for name in names}
    drawn: dict[str, Drawn] = {}
    draws = len(encoders) * arguments.initialisations
    with progress.Bar("Random encoders", draws, "initialisations") as bar:
        for name, encoder in encoders.items():
            found = random_encoders.draw(encoder, arguments.seed, arguments.initialisations, bar)
            drawn |= {f"{name}, {kind}": one for kind, one in found.items()}
    cones = {
        name: cones_of(drawn[name].features, arguments.seed)
        for name in progress.track(drawn, "Telling them apart", len(drawn), "kinds of input")
    }
    figure = draw(mlps, drawn, cones)
    summary = _summary(mlps, drawn, cones)
    return Result("cone", vars(arguments), _plain(mlps, drawn, cones), figure, summary)


def _check(arguments: argparse.Namespace) -> None:
    for name, least in LEAST.items():
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name}={getattr(arguments, name)} must be at least {least}")
    if arguments.resnet_examples > arguments.examples:
        raise UsageError(
            f"--resnet_examples={arguments.resnet_examples} must be at most "
            f"--examples={arguments.examples}, of which they are the first"
        )
    if not 0 <= arguments.seed < 2**32:
        raise UsageError(f"--seed={arguments.seed} must be in [0, 2**32)")


def _plain(
    mlps: Mapping[str, Layers], drawn: Mapping[str, Drawn], cones: Mapping[str, Cones]
) -> dict[str, Any]:
    """What JSON holds."""
    return {
        "mlps": {
            name: {
                "mean_cosine": one.cosines.tolist(),  # [repeats, layers + 1]
                "variance_share": [share._asdict() for share in one.shares],
            }
            for name, one in mlps.items()
        },
        "encoders": {
            name: {
                "inputs": one.inputs,
                "layers": drawn[name].layers,
                "pooled": drawn[name].pooled,
                "mean_cosine": drawn[name].cosines.tolist(),  # [initialisations, layers]
                "mean_cosines": one.cosines.tolist(),  # [initialisations, initialisations]
                "variance_share": one.share._asdict(),
                "held_out_accuracy": one.accuracy,
                "chance": 1 / len(one.cosines),
            }
            for name, one in cones.items()
        },
    }


def _summary(
    mlps: Mapping[str, Layers], drawn: Mapping[str, Drawn], cones: Mapping[str, Cones]
) -> str:
    lines = ["random MLPs: mean cosine after layer 1, 2, the last; share of variance (95 %)"]
    for name, mlp in mlps.items():
        means, share = mlp.cosines.mean(axis=0), mlp.shares[-1]
        shown = "  ".join(f"{means[min(layer, len(means) - 1)]:.4f}" for layer in (1, 2, -1))
        lines.append(f"  {name:<30} {shown}   {_interval(share)}")
    lines.append("encoders: mean cosine by layer, averaged over the initialisations")
    lines += [f"  {name:<30} {_by_layer(one)}" for name, one in drawn.items()]
    lines.append("last features: share of variance (95 %), its bounds; told apart (chance)")
    for name, cone in cones.items():
        share = cone.share
        bounds = f"in [{share.within - share.between:.3f}, {share.within:.3f}]"
        apart = f"{cone.accuracy:.1%} ({1 / len(cone.cosines):.0%})"
        lines.append(f"  {name:<30} {_interval(share)} {bounds}   {apart}")
    return "\n".join(lines)


def _by_layer(one: Drawn) -> str:
    """What has a name, and the middle and the last of the blocks, which have numbers."""
    means = dict(zip(one.layers, one.cosines.mean(axis=0), strict=True))
    blocks = [name for name in one.layers if name.isdigit()]
    left_out = set(blocks) - {blocks[len(blocks) // 2 - 1], blocks[-1]}
    return "  ".join(f"{name} {means[name]:.4f}" for name in one.layers if name not in left_out)


def _interval(share: Share) -> str:
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
