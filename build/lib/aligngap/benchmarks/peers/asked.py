"""What a program is asked for stands in a file, its one argument."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Asked:
    """Fields of what JSON knows, and tuples of it."""

    @classmethod
    def given(cls) -> Self:
        """As the program's one argument says."""
        found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        return cls(**found | lists)

    def text(self) -> str:
        """What `given` reads."""
        return json.dumps(asdict(self))
