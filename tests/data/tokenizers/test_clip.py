"""CLIP's vocabulary: the ids of transformers without cleaning, and of open_clip with it."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from aligngap.data import fetch, tokenizers
from aligngap.data.tokenizers import bpe, clip
from aligngap.data.tokenizers.clip import Clip, ClipFast
from aligngap.errors import AligngapError, UsageError
from aligngap.training import run as runs

pytestmark = pytest.mark.corpus
CONTEXT = 77
STRANGE = [
    "",
    "   \t\n ",
    "a photo of a cat, " * 40,
    "Ångström, naïve, e\u0301, İstanbul, ß",
    "👩‍🚀❤️🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "मनीष ไทย 中文 العربية",
    "12345 3.14 !!!???",
    "DON'T, I'LL, we've; o'clock",
    "Ⅷ ① ²",
    "a\u200bb",
]
# What cleaning changes: entities, also twice over, curly quotes, ligatures, broken encodings,
# wide letters, the final sigma, controls and odd separators.
DIRTY = [
    "Tom &amp; Jerry &lt;3",
    "<b>&amp;quot;hi&amp;quot;</b>",
    "“curly” ‘quotes’ don’t",
    "ﬁne ﬂow",
    "lâ€™Ã©tÃ©",
    "ＦＵＬＬ width",
    "ΟΔΟΣ ΣΊΣΥΦΟΣ",
    "\x00\x01\x7f \u00a0\u3000 line\u2028sep\x85x",
]


@pytest.fixture(scope="module")
def fast(clip_dir) -> ClipFast:
    return ClipFast.make([], 0, clip_dir)


@pytest.fixture(scope="module")
def clean(clip_dir) -> Clip:
    return Clip.make([], 0, clip_dir)


@pytest.fixture(scope="module")
def open_clip(clip_dir, tmp_path_factory):
    """open_clip's own tokenizer out of the wheel, which needs torch but no torchvision."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("open_clip")
    wheel = fetch.wheel(clip.WHEEL, fetch.downloads(clip_dir))
    for name in ("tokenizer.py", "bpe_simple_vocab_16e6.txt.gz"):
        (folder / name).write_bytes(fetch.read_member(wheel, f"open_clip/{name}"))
    spec = importlib.util.spec_from_file_location("tokenizer", folder / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


def test_ids_are_those_of_transformers(captions, fast):
    from transformers import CLIPTokenizerFast

    model = json.loads(fast.backend.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    reference = CLIPTokenizerFast(vocab=model["vocab"], merges=merges)
    texts = [*captions, *STRANGE, *DIRTY]
    wanted = reference(texts, padding="max_length", truncation=True, max_length=CONTEXT)
    np.testing.assert_array_equal(fast.encode(texts, CONTEXT), wanted["input_ids"])
    assert (fast.vocab_size, fast.start_id, fast.end_id) == (49_408, 49_406, 49_407)


def test_cleaned_ids_are_those_of_open_clip(captions, clean, open_clip):
    texts = [*captions, *STRANGE, *DIRTY]
    wanted = open_clip(texts).numpy()
    # open_clip pads with 0; nothing looks behind the first end of text.
    behind = np.arange(CONTEXT) > wanted.argmax(axis=1)[:, None]
    np.testing.assert_array_equal(clean.encode(texts, CONTEXT), np.where(behind, 49_407, wanted))


def test_cleaning_matters_where_it_should(captions, clean, fast):
    differ = [(clean.encode([t], CONTEXT) != fast.encode([t], CONTEXT)).any() for t in DIRTY]
    assert all(differ)
    same = clean.encode(captions, CONTEXT) == fast.encode(captions, CONTEXT)
    assert 0.9 < same.all(axis=1).mean() < 1  # French and German have curly apostrophes.


def test_a_run_takes_clips_vocabulary_and_keeps_it(small, clip_dir, clean, tmp_path):
    small.data.tokenizer, small.model.text.vocab_size = "clip", 49_408
    run = runs.prepare(small, tmp_path / "run")
    assert (tmp_path / "run" / "tokenizer" / bpe.FILE).exists()
    wanted = clean.encode(DIRTY, 12)
    for one in (run.tokenizer, tokenizers.reopen(small, tmp_path / "run" / "tokenizer")):
        np.testing.assert_array_equal(one.encode(DIRTY, 12), wanted)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).encode(DIRTY, 12), wanted)


def test_missing_merges_say_how_to_fetch_them(small, tmp_path):
    small.data.tokenizer, small.model.text.vocab_size = "clip_fast", 49_408
    small.data.data_dir = str(tmp_path)
    with pytest.raises(AligngapError, match=r"missing in .*prepare --tokenizer=clip --data_dir="):
        tokenizers.make(small, [])


def test_an_unknown_tokenizer_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="'clop': one of clip"):
        tokenizers.fetched("clop").prepare(Path(tmp_path))
    assert list(tmp_path.iterdir()) == []
