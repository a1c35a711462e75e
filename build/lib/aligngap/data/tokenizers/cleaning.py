"""Captions as CLIP cleans them before it splits them into tokens (Radford et al. 2021, open_clip).

OpenAI's code and open_clip do this; transformers' fast tokenizer does not, so that a caption with
an HTML entity, a curly quote or broken encoding has other ids there.
"""

import html

import ftfy


def clean(caption: str) -> str:
    """Mends broken Unicode, reads HTML entities (twice: &amp;quot;), one space a gap, lower case.

    Lower case by Python's rules, as in both codes: the tokenizer's own knows no final sigma.
    """
    mended = html.unescape(html.unescape(ftfy.fix_text(caption)))
    return " ".join(mended.split()).lower()
