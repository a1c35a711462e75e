"""Both modalities as points of one plane."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from aligngap.reporting.figures import PALETTE, project

MOST = 1000  # points of each


def draw(
    axes: Axes, image: Float[np.ndarray, "N D"], text: Float[np.ndarray, "N D"], title: str
) -> None:
    """Pairs in their own principal plane."""
    plane = project(image, text, np.arange(len(image)))
    for name, points, marker in (("image", plane.image, "o"), ("text", plane.text, "D")):
        axes.plot(*points[:MOST].T, marker, ms=2.5, mew=0, alpha=0.5, color=PALETTE[name][0],
                  label={"image": "images", "text": "captions"}[name])  # fmt: skip
    axes.set_title(title, fontsize=9, loc="left")
    axes.set(xlabel=f"PC 1 ({100 * plane.shares[0]:.1f} % of variance)", aspect="equal",
             ylabel=f"PC 2 ({100 * plane.shares[1]:.1f} %)", adjustable="datalim")  # fmt: skip
    axes.legend(frameon=False, markerscale=2)
