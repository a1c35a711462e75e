"""What the evaluator of mixed search asks, and of what."""

from aligngap.data.records import Record
from aligngap.evaluation.search import asked


def record(*captions, keywords=()):
    return Record(b"", captions, tuple(keywords))


def test_two_keywords_ask_for_the_name_and_two_others():
    words = ["green", "heart", "love", "emotion", "like", "green tea", "romantic", "ily"]
    found = asked(record("green heart", "heart in green", keywords=words), True)
    assert found == ("love, emotion", "green heart, like, romantic")
    assert asked(record("green heart", keywords=words), False) == found
    assert asked(record("green heart", "heart in green", keywords=words[:5]), True) is None


def test_one_caption_asks_for_another():
    assert asked(record("a dog", "a hound runs", "it runs"), False) == ("a hound runs", "a dog")
    assert asked(record("a dog"), False) is None
