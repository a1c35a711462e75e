"""The stamps of Tux Paint: photographs and drawings, a sentence each ("A castle in ruins.")."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aligngap.data import debian
from aligngap.data.corpora.packaged import Packaged, Picture
from aligngap.data.corpus import Licence

FOLDER = "usr/share/tuxpaint/stamps"
TURNED = re.compile(r"_(mirror|flip)(_|$)")  # The same stamp once more.


class Stamps(Packaged):
    """Some thousand pictures in sixteen folders of things."""

    pin = debian.DebPin(
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    )
    provides = Licence(
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "GPL-2",
        "tuxpaint-stamps-default",
        "photographs and drawings, a sentence each",
    )
    title = "Held-out stamps"
    kinds = ("folder", "leaf")

    @staticmethod
    def pictures(package: Path) -> Iterator[Picture]:
        files = dict(debian.members(package, FOLDER))
        for path in sorted(files):
            stem, _, kind = path.rpartition(".")
            text = files.get(f"{stem}.txt", b"").decode("utf-8", "replace")
            # The first line is English; the others begin with their language.
            caption = text.partition("\n")[0].strip()
            if kind not in ("png", "svg") or TURNED.search(stem) or not caption:
                continue
            if kind == "svg" and f"{stem}.png" in files:
                continue  # The same stamp, in both kinds.
            folders = PurePosixPath(stem).parent
            labels = {"folder": folders.parts[0], "leaf": folders.name}
            yield Picture(stem, kind, files[path], [caption], [], labels)
