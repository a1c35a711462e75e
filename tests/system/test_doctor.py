"""`aligngap doctor`: what it finds on this machine, and in runs that are well and that are not."""

import pytest

from aligngap import cli

from workdirs import flip_a_bit, largest_file

pytestmark = [pytest.mark.system, pytest.mark.corpus]


@pytest.fixture
def doctor(capsys, monkeypatch, pictograms_dir):
    monkeypatch.setenv("TFDS_DATA_DIR", str(pictograms_dir))

    def run(*arguments):
        code = cli.main(["doctor", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.strip()

    return run


def test_a_machine_and_a_run_that_are_well(doctor, finished):
    code, found, said = doctor(f"--workdir={finished}")
    assert code == 0, (found, said)
    assert not [line for line in found if line.startswith("WRONG")]
    for words in (
        "jax 0.",
        "device 7: cpu",
        "corpus pictograms: ",
        "a step in float32 on 8 devices: loss ",
        "a step in bfloat16 on 8 devices: loss ",
        "metrics.jsonl: 11 lines, the last of step 8",
        "checkpoint of step 8 is what was saved",
    ):
        assert [line for line in found if line.startswith("ok") and words in line], (words, found)


def test_a_damaged_checkpoint_and_a_damaged_log_are_found(doctor, copied):
    flip_a_bit(largest_file(copied / "checkpoints" / "6"))
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "train/lo')
    code, found, said = doctor(f"--workdir={copied}")
    assert code == 1
    assert said.splitlines()[-1].startswith("aligngap: 2 of ")
    wrong = [line for line in found if line.startswith("WRONG")]
    assert "metrics.jsonl cannot be read" in wrong[0]
    assert f"{copied}/checkpoints/6 is damaged" in wrong[1]
