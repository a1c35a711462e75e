"""Each modality less its own mean: n(n(x) − μ), of images, text documents, queries and others.

GR-CLIP (Li et al. 2025), whose queries have a mean of their own; I0T-post (An et al. 2025) has the
same formula.
"""

from aligngap.gap.transforms import moments
from aligngap.gap.transforms.maps import centring
from aligngap.gap.transforms.methods.contract import Clouds, Fitted, Options


def fit(clouds: Clouds, options: Options) -> Fitted:
    """μ of each modality."""
    del options
    return {name: (centring(moments.mean(rows)),) for name, rows in clouds.items()}
