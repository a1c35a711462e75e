import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aligngap.data import corpora
from aligngap.data.records import texts_of
from aligngap.data.tokenizers.bpe import Trained as Tokenizer
from aligngap.data.tokenizers.bpe import backend_of, train
from aligngap.errors import AligngapError, UsageError

# Many pairs occur equally often, so that the order of ties shows.
CAPTIONS = [
    f"{adjective} {noun}, {place}"
    for adjective in ("red", "green", "naïve", "smiling", "très grand")
    for noun in ("cat", "butterfly", "castle", "😀 face", "日本", "can't")
    for place in ("harbour", "Straße", "mountain 42", "night!")
]
STRANGE = [
    "",
    "   \t\n ",
    "ÅNGSTRÖM İstanbul ß ﬁ e\u0301",
    "👩‍🚀❤️🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "मनीष ไทย 中文 العربية",
    "\x00\x01\x7f \u00a0\u3000",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 <|endoftext <b> </w>",
    "12345 3.14 !!!???",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(CAPTIONS, 580)


@pytest.fixture(scope="module")
def captions(pictograms_dir: Path) -> list[str]:
    """The distinct captions of the corpus's training split."""
    return sorted(set(texts_of(corpora.find("pictograms", pictograms_dir).open("train"))))


def _assert_rows_are_captions(ids: np.ndarray, tokenizer: Tokenizer) -> None:
    """Start once, then words, then end to the last column; pooling finds the first end."""
    assert ids.dtype == np.int32
    assert (ids[:, 0] == tokenizer.start_id).all()
    assert (ids[:, -1] == tokenizer.end_id).all()
    ends = ids.argmax(axis=1)
    for row, end in zip(ids, ends, strict=True):
        assert (row[1:end] < tokenizer.start_id).all()
        assert (row[end:] == tokenizer.end_id).all()


def test_the_vocabulary_is_laid_out_as_clips(tokenizer):
    model = json.loads(tokenizer.backend.to_str())["model"]
    names = sorted(model["vocab"], key=model["vocab"].get)
    assert tokenizer.vocab_size == len(names) == 580
    assert names[:3] == ["!", '"', "#"]
    assert names[187:190] == ["ÿ", "Ā", "ā"]
    assert names[256:512] == [name + "</w>" for name in names[:256]]
    assert names[512:-2] == ["".join(merge) for merge in model["merges"]]
    assert names[-2:] == ["<|startoftext|>", "<|endoftext|>"]
    assert (tokenizer.start_id, tokenizer.end_id) == (578, 579)


def test_known_merges_give_known_ids():
    """By hand: "cat" is c a t</w>; the letters' ids are their place after "!"."""
    tokenizer = Tokenizer(backend_of([("a", "t</w>"), ("c", "at</w>")]))
    c, a, s_end = ord("c") - ord("!"), ord("a") - ord("!"), 256 + ord("s") - ord("!")
    t = ord("t") - ord("!")
    expected = [[514, 513, 515, 515, 515, 515], [514, c, a, t, s_end, 515]]
    np.testing.assert_array_equal(tokenizer.encode([" CAT", "cats"], 6), expected)


def test_the_captions_order_does_not_matter():
    shuffled = random.Random(1).sample(CAPTIONS, len(CAPTIONS))
    assert train(shuffled, 580).backend.to_str() == train(CAPTIONS, 580).backend.to_str()


def test_another_process_learns_the_same(tokenizer):
    """Hash maps are seeded once a process: ties must not follow them."""
    program = (
        "import json, sys; from aligngap.data.tokenizers.bpe import train;"
        "print(train(json.load(sys.stdin), 580).backend.to_str())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(CAPTIONS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == tokenizer.backend.to_str()


def test_few_captions_give_a_small_vocabulary():
    assert train([], 1000).vocab_size == 514
    assert 514 < train(["cat cat"], 1000).vocab_size < 1000


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(UsageError, match="513"):
        train(CAPTIONS, 513)


def test_rows_are_padded_and_cut(tokenizer):
    ids = tokenizer.encode([*CAPTIONS, *STRANGE, "cat " * 500], 12)
    assert ids.shape == (len(CAPTIONS) + len(STRANGE) + 1, 12)
    _assert_rows_are_captions(ids, tokenizer)
    assert ids[-1].argmax() == 11


def test_a_short_context_keeps_the_first_tokens(tokenizer):
    long, short = tokenizer.encode(CAPTIONS[:5], 64), tokenizer.encode(CAPTIONS[:5], 4)
    np.testing.assert_array_equal(short[:, :3], long[:, :3])
    with pytest.raises(UsageError, match="context_length"):
        tokenizer.encode(CAPTIONS, 1)


def test_empty_text_is_start_and_ends(tokenizer):
    start, end = tokenizer.start_id, tokenizer.end_id
    np.testing.assert_array_equal(tokenizer.encode(["", " \n"], 4), [[start, end, end, end]] * 2)
    assert tokenizer.encode([], 4).shape == (0, 4)


def test_every_character_has_an_encoding():
    """A vocabulary of bytes alone gives back what it never saw; NFC and lower case are kept off."""
    tokenizer = Tokenizer(backend_of([]))
    text = "".join(map(chr, [*range(0x21, 0x7F), 0x3B1, 0x20AC, 0x65E5, 0x1F600])).lower()
    assert tokenizer.decode(tokenizer.encode([text], 300)[0]).replace(" ", "") == text


def test_special_tokens_in_a_caption_are_text(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    texts = ["a<|endoftext|> cat", "<|startoftext|>", "!!<|ENDOFTEXT|><|endoftext|>"]
    for twin in (tokenizer, Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        ids = twin.encode(texts, 64)
        _assert_rows_are_captions(ids, twin)
        assert (ids.argmax(axis=1) > 3).all()
        assert twin.decode(ids[0]).replace(" ", "") == "a<|endoftext|>cat"


def test_decode_gives_the_normalised_text(tokenizer):
    ids = tokenizer.encode(["A  Smiling\nCAT, naïve 😀"], 40)
    assert tokenizer.decode(ids[0]) == "a smiling cat , naïve 😀"


def test_saved_and_pickled_copies_encode_alike(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "run" / "tokenizer")
    assert [file.name for file in (tmp_path / "run" / "tokenizer").iterdir()] == ["tokenizer.json"]
    expected = tokenizer.encode(CAPTIONS + STRANGE, 16)
    for twin in (
        Tokenizer.load(tmp_path / "run" / "tokenizer"),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        np.testing.assert_array_equal(twin.encode(CAPTIONS + STRANGE, 16), expected)


def test_a_missing_or_broken_file_is_one_clear_line(tokenizer, tmp_path):
    with pytest.raises(AligngapError, match=r"cannot read the tokenizer .*tokenizer\.json"):
        Tokenizer.load(tmp_path)
    whole = tokenizer.backend.to_str()
    lowest_specials = json.loads(whole)
    lowest_specials["model"]["vocab"] |= {"<|endoftext|>": 0, "!": 579}
    lowest_specials["added_tokens"] = []
    for text in ("", "{}", whole[: len(whole) // 2], json.dumps(lowest_specials)):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(AligngapError, match="no tokenizer of CLIP's form"):
            Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(AligngapError, match="no tokenizer"):
        Tokenizer.load(tmp_path)


def test_an_unwritable_folder_is_one_clear_line(tokenizer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AligngapError, match="cannot write"):
        tokenizer.save(tmp_path / "file")


@pytest.mark.corpus
def test_real_captions_fill_a_vocabulary_and_survive_it(captions):
    tokenizer = train(captions, 2048)
    assert tokenizer.vocab_size == 2048
    assert train(captions[::-1], 2048).backend.to_str() == tokenizer.backend.to_str()
    ids = tokenizer.encode(captions, 32)
    _assert_rows_are_captions(ids, tokenizer)
    assert len(np.unique(ids, axis=0)) > 0.95 * len(captions)
    for caption, row in zip(captions[:500], tokenizer.encode(captions[:500], 200), strict=True):
        assert tokenizer.decode(row).replace(" ", "") == "".join(caption.lower().split())


def test_a_vocabulary_with_a_gap_or_a_prefix_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    about = json.loads((tmp_path / "tokenizer.json").read_text())
    for field, value, words in (
        ("vocab", about["model"]["vocab"] | {"!": 5000}, "ids are not those from 0 on"),
        ("continuing_subword_prefix", "x" * 10**4, "have a prefix"),
    ):
        changed = about | {"model": about["model"] | {field: value}}
        (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
        with pytest.raises(AligngapError, match=rf"tokenizer\.json is no tokenizer.+{words}"):
            Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", [b"qq zz\n", b"\xff\xfea\0 \0b\0", b"a b c\n"])
def test_merges_that_are_none(content, tmp_path):
    (tmp_path / "merges.txt").write_bytes(content)
    with pytest.raises(AligngapError, match=r"merges\.txt is no list of merges"):
        Tokenizer.read(tmp_path, dict, "end_of_text")
