"""`aligngap gap bias`: what the images of each group are matched to, as the gap is changed."""

from aligngap.laboratory.bias.experiment import add_flags, run

__all__ = ["add_flags", "run"]
