"""config.json of a workdir, as anybody may have written in it."""

import json

import pytest

from aligngap import config as configs
from aligngap.errors import AligngapError
from aligngap.runs import workdir


@pytest.mark.parametrize(
    ("name", "value"),
    [("data.data_dir", None), ("data.tokenizer", 1), ("init_from", [])],
)
def test_a_text_that_is_none(name, value, tmp_path):
    tree = json.loads(configs.default().to_json())
    *path, last = name.split(".")
    held = tree
    for part in path:
        held = held[part]
    held[last] = value
    (tmp_path / "config.json").write_text(json.dumps(tree))
    with pytest.raises(AligngapError, match=rf"config\.json is no config .*{name}.* be a text"):
        workdir.read_config(tmp_path)
