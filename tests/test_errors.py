"""What errors say of many names."""

from aligngap.errors import some


def test_many_names_are_told_by_the_first_ones():
    names = [f"p{n}" for n in range(11)]
    assert some(names[:8]) == "p0, p1, p2, p3, p4, p5, p6, p7"
    assert some(names) == "p0, p1, p2, p3, p4, p5, p6, p7 and 3 more"
    assert some(names, between="; ").endswith("; p7; and 3 more")
    assert some([]) == ""
