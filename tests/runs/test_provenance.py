"""Which commit a run was made with: of this checkout, of none, and kept beside the commands."""

import subprocess
from pathlib import Path

from aligngap.runs import provenance


def test_the_commit_is_that_of_the_checkout(tmp_path):
    checkout = Path(__file__).parents[2]
    known = (checkout / ".git").exists()
    head = ["git", "rev-parse", "HEAD"]
    wanted = subprocess.run(head, cwd=checkout, capture_output=True, text=True).stdout.strip()
    assert provenance.commit().removesuffix("-dirty") == (wanted if known else "")
    assert ("commit" in provenance.versions()) == bool(known and wanted)
    provenance.record(tmp_path, ["train", "--workdir=a b"])
    provenance.record(tmp_path, ["train", "--workdir=a b"])
    assert provenance.commands(tmp_path) == ["aligngap train '--workdir=a b'"]
    assert provenance.commits(tmp_path) == [x for x in (provenance.commit(),) if x]
