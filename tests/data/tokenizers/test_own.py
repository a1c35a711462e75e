"""A tokenizer of a user's own, named by its path: as good as ours wherever one is asked for."""

import pickle

import pytest

import aligngap
from aligngap import config as configs
from aligngap.cli import main
from aligngap.data import tokenizers
from aligngap.data.tokenizers.tokenizer import Tokenizer
from aligngap.errors import AligngapError, UsageError
from aligngap.interop import importing, processor
from aligngap.runs import workdir

from small import random_params, small_config


class Unfinished(Tokenizer):
    """Has neither a file nor what makes ids."""

    vocab_size = end_id = 3
    fingerprint = ""
    make = load = save = decode = classmethod(lambda cls, *given: cls())


@pytest.fixture
def config():
    config = configs.default()
    config.data.tokenizer = "shapes.Letters"
    config.model.text.update(vocab_size=30, pooling="last")
    return config


def test_it_is_made_kept_and_reopened(config, tmp_path):
    tokenizers.check(config)
    assert not tokenizers.held(config, tmp_path)
    made = tokenizers.make(config, ["a cat", "a dog"])
    made.save(tmp_path)
    assert tokenizers.held(config, tmp_path)
    for twin in (tokenizers.reopen(config, tmp_path), pickle.loads(pickle.dumps(made))):
        assert twin.fingerprint == made.fingerprint
        assert twin.encode(["a cat"], 8)[0].tolist() == made.encode(["a cat"], 8)[0].tolist()
    assert made.decode(made.encode(["cat dog"], 5)[0]) == "cat "


def test_what_does_not_fit_it_is_its_own_words(config):
    config.model.text.pooling = "end_of_text"
    with pytest.raises(UsageError, match=r"shapes\.Letters needs last"):
        tokenizers.check(config)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sentences", "unknown tokenizer 'sentences': one of trained, clip, clip_fast, siglip"),
        ("no.such.Thing", "tokenizer 'no.such.Thing' cannot be imported"),
        ("pathlib.Path", "derives from no Tokenizer"),
    ],
)
def test_a_name_that_is_none(config, name, words):
    config.data.tokenizer = name
    with pytest.raises(UsageError, match=words):
        tokenizers.check(config)


def test_transformers_cannot_read_it(config, tmp_path):
    made = tokenizers.make(config, ["a cat"])
    with pytest.raises(AligngapError, match="Letters has no form that transformers reads"):
        processor.write_tokenizer(made, 8, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_that_lacks_a_part_is_told_which():
    with pytest.raises(UsageError, match=r"Unfinished' lacks encode, file$"):
        tokenizers.find(f"{__name__}.Unfinished")


def test_more_tokens_than_the_model_has(config):
    config.model.text.vocab_size = 1  # Letters are made all the same: end and padding are two.
    with pytest.raises(UsageError, match=r"Letters has [0-9]+ tokens: .*vocab_size=1 is too few"):
        tokenizers.make(config, ["a cat"])


def test_an_end_that_is_not_the_highest_id_would_not_be_found(config):
    config.model.text.pooling = "end_of_text"
    with pytest.raises(UsageError, match=r"ends a text with 1, .* highest id, 5: give last"):
        tokenizers.make(config, ["a cat"])


def test_it_goes_through_every_folder_of_ours(tmp_path):
    """A run, what is exported from it, and what is imported of that: the same ids in each."""
    config = small_config(tmp_path)
    config.data.tokenizer = "shapes.Letters"
    config.model.text.update(vocab_size=30, pooling="last")
    run = tmp_path / "run"
    made = tokenizers.make(config, ["a cat", "a dog"])
    workdir.claim(run, config)
    made.save(run / "tokenizer")
    importing.save(run, config, random_params(config))
    folders = [run]
    for form in ("npz", "stablehlo"):
        output, back = tmp_path / form, tmp_path / f"{form}_back"
        assert main(["export", f"--workdir={run}", f"--format={form}", f"--output={output}"]) == 0
        assert main(["import", f"--source={output}", f"--workdir={back}"]) == 0
        folders += [output, back]
    for folder in folders:
        model = aligngap.load(folder)
        assert (model.config.data.tokenizer, model.tokenizer) == ("shapes.Letters", made)
    card = (tmp_path / "stablehlo" / "README.md").read_text()
    assert (
        "ids = np.full((7, 12), 0, np.int32)  # Empty texts: end, padding.\nids[:, 0] = 1" in card
    )
    assert "ids_of" not in card and "`pip install pillow`" in card


def test_an_export_whose_tokenizer_is_not_at_hand(tmp_path, capsys):
    config = small_config(tmp_path)
    run, output = tmp_path / "run", tmp_path / "out"
    workdir.claim(run, config)
    importing.save(run, config, random_params(config))
    assert main(["export", f"--workdir={run}", "--format=npz", f"--output={output}"]) == 0
    path = output / "config.json"
    path.write_text(path.read_text().replace('"trained"', '"nobodys.Tokens"'))
    assert main(["import", f"--source={output}", f"--workdir={tmp_path / 'back'}"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "tokenizer 'nobodys.Tokens' cannot be imported" in line
