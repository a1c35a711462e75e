"""The tables of verbs, experiments and benchmarks: each line has its room, and help is quick."""

import importlib
import os
import signal
import subprocess
import sys

import numpy as np
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


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (("gap", "shfit", "--image=x"), "'shift'"),
        (("study", "whi"), "'why'"),
        (("bench", "stp"), ""),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest(words, nearest, capsys):
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert f"unknown `aligngap {words[0]} {words[1]}`" in said and nearest in said


def test_no_flag_is_abbreviated(capsys):
    given = ["--image=a.npy", "--text=b.npy", "--output=c"]
    assert cli.main(["gap", "fit", *given, "--meth=ridge"]) == 2
    assert "--meth=ridge" in capsys.readouterr().err


def program(*words, **options):
    """The command in a process of its own, whose errors are read as text; it hears interrupts also
    where the tests, in a shell's background, do not."""
    command = [sys.executable, "-m", "aligngap.cli", *words]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts, **options
    )


def _hear_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("verb", "where", "words"),
    [
        (("gap", "--output=o", "--text=a"), "reading", "interrupted"),
        (("gap", "--output=o", "--text=a"), "importing", "interrupted"),
        (
            ("prepare", "--tokenizer=clip"),
            "importing",
            "interrupted; the same command goes on from the last save",
        ),
    ],
)
def test_an_interrupt_is_one_line(verb, where, words, tmp_path):
    """As it waits in a pipe: for rows, or within a module as numpy answers an interrupt."""
    pipe = tmp_path / "rows.npy"
    os.mkfifo(pipe)
    shadows = tmp_path / where
    shadows.mkdir()
    if where == "importing":
        for name in ("numpy", "ml_collections"):
            lines = (f"try: open({str(pipe)!r}).read()", "except BaseException: raise ImportError")
            (shadows / f"{name}.py").write_text("\n".join(lines))
    paths = [str(shadows), *filter(None, [os.environ.get("PYTHONPATH")])]
    image = [f"--image={pipe}"] * (verb[0] == "gap")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    running = program(*verb, *image, env=environment)
    with pipe.open("w"):  # Opened once the program has opened it too.
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert (said, running.returncode) == (f"aligngap: {words}\n", 1)


def test_where_nobody_reads_on_nothing_is_said(tmp_path):
    for name in ("image", "text"):
        np.save(tmp_path / f"{name}.npy", np.eye(4, dtype=np.float32))
    read, written = os.pipe()
    os.close(read)
    files = [f"--{name}={tmp_path / name}.npy" for name in ("image", "text")]
    running = program("gap", "fit", *files, f"--output={tmp_path / 'out'}", stdout=written)
    os.close(written)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 1
    assert "pipe" not in said and "Traceback" not in said
    assert (tmp_path / "out" / "transform.json").exists()


def test_an_error_is_one_line_whatever_it_quotes(tmp_path, capsys):
    name = f"a\nb\u2028{'c' * 5000}.npy"
    found = ["gap", f"--image={name}", f"--text={name}", f"--output={tmp_path / 'out'}"]
    assert cli.main(found) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aligngap: a b ccc") and len(line) < 3000
