"""Real pairs, and the command that makes corpora of them."""

import pytest

from aligngap.data import corpora
from aligngap.data.sources.machines import ThisMachine
from aligngap.data.sources.prepare import Request, prepare
from aligngap.data.sources.raw import Columns, Rules
from aligngap.data.sources.splitting import Splitting


@pytest.fixture
def make(tmp_path):
    """(source, name, ...) → the corpus made of it, in tmp_path/data."""

    def made(given, name="mine", roles=None, columns=None, rules=None, splitting=None, **kw):
        request = Request(
            name,
            {"": str(given), **(roles or {})},
            columns or Columns(),
            rules or Rules(),
            splitting or Splitting(),
            **kw,
        )
        prepare(request, tmp_path / "data", ThisMachine(1))
        return corpora.find(name, tmp_path / "data")

    return made
