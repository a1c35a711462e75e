"""The table of `aligngap bench data`: every stage and the whole pipeline, of the pictograms."""

import pytest

from aligngap.benchmarks import data
from aligngap.cli import main

pytestmark = pytest.mark.corpus


def test_every_stage_and_the_whole(pictograms_dir, capsys):
    given = f"--data_dir={pictograms_dir} --image_size=32 --images=100 --workers 0 1 --model=S/16"
    assert main(["bench", "data", "--corpus=pictograms", *given.split()]) == 0
    head, columns, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("pictograms: 100 of ")
    assert columns.split()[:3] == ["stage", "µs", "a"]
    stages, (whole, threads, one, slowest, needed) = lines[:5], lines[5:]
    assert [line.split()[0] for line in stages] == list(data.STAGES)
    took = {line.split()[0]: float(line.split()[1]) for line in stages}
    assert all(time > 0 for time in took.values())
    assert float(whole.split()[3]) == pytest.approx(sum(took.values()), abs=0.3)
    assert threads.split()[0] == "threads" and one.startswith("1 worker ")
    assert slowest.startswith(f"Bottleneck: {max(took, key=took.get)}, ")
    assert "One h100 takes" in needed and "50%" in needed and needed.endswith("such cores")


@pytest.mark.parametrize("given", [["--corpus=nothing"], ["--workers", "1", "-1"]])
def test_a_mistake_is_one_line(given, capsys):
    assert main(["bench", "data", *given]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
