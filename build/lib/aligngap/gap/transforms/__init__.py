"""Ways to close the gap of embeddings without their model: fitted once, saved, applied anywhere."""

from aligngap.gap.transforms.calibration import ScoreCalibration
from aligngap.gap.transforms.transform import GapTransform

__all__ = ["GapTransform", "ScoreCalibration"]
