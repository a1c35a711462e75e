"""`aligngap gap cone`: mean cosines through random networks."""

from aligngap.laboratory.cone.experiment import add_flags, run

__all__ = ["add_flags", "run"]
