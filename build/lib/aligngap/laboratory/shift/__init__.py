"""`aligngap gap shift`: loss and retrieval as the clouds are moved along the gap."""

from aligngap.laboratory.shift.experiment import add_flags, run

__all__ = ["add_flags", "run"]
