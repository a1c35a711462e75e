"""`aligngap gap search`: a pool of images and texts, against the share of images."""

from aligngap.laboratory.search.experiment import add_flags, run

__all__ = ["add_flags", "run"]
