"""`aligngap gap advise`: which transform closes the gap to whose good, or none."""

from aligngap.laboratory.advise.experiment import add_flags, run

__all__ = ["add_flags", "run"]
