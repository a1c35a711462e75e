"""Images moved onto texts by optimal transport (Role et al. 2025); texts stay.

The plan minimises squared distance + `strength` · a Laplacian term over graphs of 3 neighbours
(Courty et al. 2017), and each image goes to the mean of the texts that it is sent to. It is
transductive; an image that was not fitted moves as the nearest fitted one does (`maps.Nearest`).
Each further modality is moved onto the texts by a plan of its own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aligngap.errors import AligngapError
from aligngap.gap.transforms.maps import Nearest
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options


class Moved(NamedTuple):
    """Where the plan sends the images, and the objective after each iteration."""

    image: Float[np.ndarray, "N D"]
    objective: list[float]


def fit(clouds: Clouds, options: Options) -> Fitted:
    """The images, and how far each of them moves; so of further modalities."""
    text, maps = clouds["text"].all(), Fitted()
    for name, cloud in clouds.items():
        if name not in ("text", "query"):
            rows = cloud.all()
            moved = transported(rows, text, options["strength"], int(options["iterations"]))
            maps[name] = (Nearest(rows, moved.image - rows),)
    return maps | {"text": ()}


def transported(
    image: Float[np.ndarray, "N D"],
    text: Float[np.ndarray, "M D"],
    strength: float,
    iterations: int,
) -> Moved:
    """The plan's barycentres, not yet normalised; AligngapError where POT is not installed."""
    try:
        import ot
    except ImportError as error:
        raise AligngapError(
            "--method=transport needs the POT library; install it with: pip install 'POT>=0.9'"
        ) from error
    even = [np.full(len(rows), 1 / len(rows)) for rows in (image, text)]
    plan, log = ot.da.emd_laplace(
        *even, image, text, ot.dist(image, text), eta=strength, numItermax=iterations, log=True
    )
    places = plan @ text / plan.sum(axis=1, keepdims=True)
    return Moved(places, [float(x) for x in log["loss"]])
