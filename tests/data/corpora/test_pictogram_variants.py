"""Which labels differ from others by hair, gender or colour alone."""

import pytest

from aligngap.data import corpora
from aligngap.data.corpora.pictogram_variants import variants
from aligngap.data.corpus import Variant


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("man: red hair", [("hair", "man", "red hair"), ("gender", "*: red hair", "man")]),
        ("woman: beard", [("hair", "woman", "beard"), ("gender", "*: beard", "woman")]),
        ("person bowing", [("gender", "* bowing", "person")]),
        ("deaf woman", [("gender", "deaf *", "woman")]),
        ("light blue heart", [("colour", "heart", "light blue")]),
        ("black small square", [("colour", "small square", "black")]),
        # A thing's own name, several people, a word within another, a colour by itself.
        ("woman's hat", []),
        ("family: man, woman, boy", []),
        ("kiss: woman, man", []),
        ("mermaid", []),
        ("orange", []),
        ("redhead", []),
    ],
)
def test_what_a_label_says(label, wanted):
    assert list(variants(label)) == [Variant(*each) for each in wanted]


@pytest.mark.corpus
def test_a_record_of_the_corpus_says_what_its_label_does(pictograms_dir):
    corpus = corpora.find("pictograms", pictograms_dir)
    source = corpus.open("test_unseen_style")
    found = {}
    for row in range(len(source)):
        for each in corpus.variants(source[row]):
            found.setdefault(each.kind, {}).setdefault(each.thing, set()).add(each.value)
    assert found["hair"]["woman"] >= {"red hair", "curly hair", "white hair", "bald"}
    assert found["colour"]["circle"] >= {"red", "purple", "brown", "black", "white"}
    assert found["gender"]["*"] == {"man", "woman", "person"}
