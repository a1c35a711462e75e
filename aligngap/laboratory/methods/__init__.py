"""`aligngap gap methods`: what every transform does to mixed search, over seeds of models."""

from aligngap.laboratory.methods.experiment import add_flags, run

__all__ = ["add_flags", "run"]
