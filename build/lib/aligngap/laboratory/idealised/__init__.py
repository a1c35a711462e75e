"""`aligngap gap idealised`: identical images as pairs."""

from aligngap.laboratory.idealised.experiment import add_flags, run

__all__ = ["add_flags", "run"]
