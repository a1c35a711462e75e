"""SigLIP's form of a sentencepiece vocabulary: the ids of transformers' SiglipTokenizer."""

import pickle

import numpy as np
import pytest
import sentencepiece

from aligngap.data import tokenizers
from aligngap.data.tokenizers.siglip import Siglip
from aligngap.errors import AligngapError, UsageError

pytestmark = pytest.mark.corpus
CONTEXT = 16
STRANGE = [
    *("", "   \t\n ", "...", "! a cat", "  two  spaces first", "a photo of a cat, " * 40),
    *("👩‍🚀❤️🏴󠁧󠁢󠁥󠁮󠁧󠁿 astronaut", "Ångström, naïve, e\u0301, İstanbul, ß, ﬁne ﬂow", "ΟΔΟΣ ΣΊΣΥΦΟΣ"),
    *("मनीष ไทย 中文 العربية", "DON'T, I'LL, we've; o'clock", "Ⅷ ① ² 3.14", "a\u200bb"),
    *("▁a▁ ▁b", "\x00\x01\x7f \u00a0\u3000 line\u2028sep\x85x", "＜／ｓ＞ ＦＵＬＬ width"),
]
SPECIAL = ["</s>", "a</s> b", "<unk> c", "<pad>", "a </s>"]


@pytest.fixture(scope="module")
def words(spiece_dir):
    return Siglip.load(spiece_dir)


def test_ids_are_those_of_transformers(captions, words, spiece_dir):
    """ "</s>" in a caption is text, as it is there with split_special_tokens."""
    from transformers import SiglipTokenizer

    assert len(set(captions)) == 10_000
    for split, texts in ((False, []), (True, SPECIAL)):
        there = SiglipTokenizer(str(spiece_dir / "spiece.model"), split_special_tokens=split)
        given = [*captions[:: 10 if split else 1], *STRANGE, *texts]
        wanted = there(given, padding="max_length", truncation=True, max_length=CONTEXT)
        ids = words.encode(given, CONTEXT)
        np.testing.assert_array_equal(ids, wanted["input_ids"])
        assert ids.dtype == np.int32
    assert (words.vocab_size, words.end_id) == (1000, there.eos_token_id) == (1000, 1)


def test_a_row_ends_whatever_the_text(words):
    empty, long = words.encode(["", "cat " * 200], CONTEXT)
    assert (empty == words.end_id).all()
    assert (long[:-1] != words.end_id).all() and long[-1] == words.end_id
    assert words.decode(words.encode(["A CAT,  sitting!"], CONTEXT)[0]) == "a cat sitting"


def test_it_goes_to_another_process_and_to_disk(words, spiece_dir, captions, tmp_path):
    words.save(tmp_path)
    assert (tmp_path / "spiece.model").read_bytes() == (spiece_dir / "spiece.model").read_bytes()
    wanted = words.encode(captions[:50], CONTEXT)
    for one in (pickle.loads(pickle.dumps(words)), Siglip.load(tmp_path)):
        assert one.fingerprint == words.fingerprint
        np.testing.assert_array_equal(one.encode(captions[:50], CONTEXT), wanted)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[::-1]])
def test_a_damaged_file_is_one_line(damage, words, tmp_path, capfd):
    (tmp_path / "spiece.model").write_bytes(damage(words.model))
    with pytest.raises(
        AligngapError, match=r"spiece\.model is damaged, or no sentencepiece model$"
    ):
        Siglip.load(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_and_one_of_another_form(words, captions, tmp_path):
    with pytest.raises(AligngapError, match=r"cannot read the tokenizer .*No such file"):
        Siglip.load(tmp_path)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions[:2000]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=1000,
        **{"eos_id": -1, "minloglevel": 2},
    )
    with pytest.raises(AligngapError, match=r"no vocabulary of SigLIP's form: it lacks </s>"):
        Siglip.load(tmp_path)


def test_no_run_learns_it(small):
    small.data.tokenizer = "siglip"
    with pytest.raises(AligngapError, match="comes with an imported model"):
        tokenizers.make(small, [])


def test_a_text_tower_that_looks_for_the_end_does_not_fit(small):
    small.data.tokenizer = "siglip"
    with pytest.raises(UsageError, match=r"pooling=end_of_text does not fit .* expected last"):
        tokenizers.check(small)
