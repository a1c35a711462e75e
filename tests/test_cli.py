"""The tables of verbs, experiments and benchmarks: each line has its room, and help is quick."""

import importlib
import subprocess
import sys

import pytest

from aligngap import cli
from aligngap.benchmarks import BENCHMARKS
from aligngap.laboratory import EXPERIMENTS
from aligngap.verbs import study
from aligngap.verbs.gap import CLOSING

NAMED = [
    *(("gap", name) for name in (*CLOSING, *EXPERIMENTS)),
    *(("bench", name) for name in BENCHMARKS),
    *(("study", name) for name in study.NAMED),
]


@pytest.mark.parametrize("words", [(verb,) for verb in cli.VERBS] + NAMED, ids=" ".join)
def test_help_of_each(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([*words, "--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert shown.startswith(f"usage: aligngap {' '.join(words)} [-h]")


@pytest.mark.parametrize(
    ("verb", "names"),
    [("gap", CLOSING | EXPERIMENTS), ("bench", BENCHMARKS), ("study", study.NAMED)],
)
def test_help_lists_what_a_verb_may_do_instead(verb, names, capsys):
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    shown = capsys.readouterr().out
    for name, summary in names.items():
        assert f"  aligngap {verb} {name:<12} {summary}" in shown


@pytest.mark.parametrize(
    "verb", [verb for verb in cli.VERBS if verb not in ("train", "import", "evaluate")]
)
def test_a_verb_without_overrides_refuses_them(verb, capsys):
    room = importlib.import_module(f"aligngap.verbs.{verb}")
    assert not getattr(room, "OVERRIDES", False)
    assert cli.main([verb, "--config.seed=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_help_and_no_wrong_flag_waits_for_jax():
    code = """
import sys
from aligngap import cli
for verb in cli.VERBS:
    try:
        cli.main([verb, "--help"])
    except SystemExit:
        pass
    assert cli.main([verb, "--no_such_flag"]) == 2
heavy = {"jax", "numpy", "ml_collections"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
