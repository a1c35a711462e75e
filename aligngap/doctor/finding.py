"""What `aligngap doctor` says, line by line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at: "ok", "note", or "WRONG" with what to do."""

    grade: str
    words: str

    @property
    def line(self) -> str:
        """As it is printed."""
        return f"{self.grade:<6} {self.words}"
