"""`aligngap prepare`: fetches and builds a corpus, embeds its captions, or fetches a tokenizer."""

import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What, and where."""
    parser.add_argument(
        "--corpus", help="which corpus; default: the default config's, if no tokenizer"
    )
    parser.add_argument("--tokenizer", help="clip: the 49,408 tokens of CLIP's vocabulary")
    parser.add_argument(
        "--semantics",
        metavar="minilm|FOLDER",
        help="embed each caption to train on, for the separation loss: with all-MiniLM-L6-v2, or "
        "a folder of a sentence-transformers model",
    )
    parser.add_argument("--data_dir", default="", help="where; default ~/tensorflow_datasets")
    parser.add_argument("--list", action="store_true", help="list sources and their licences")


def run(arguments: argparse.Namespace) -> None:
    """Prepares both where both are named; with --list nothing is fetched."""
    from aligngap.config import data_dir, default
    from aligngap.data import corpora, semantics, tokenizers
    from aligngap.errors import UsageError

    folder, corpus, tokenizer = data_dir(arguments.data_dir), arguments.corpus, arguments.tokenizer
    corpus = corpus or ("" if tokenizer else default().data.corpus)
    if arguments.list:
        entries = corpora.find(corpus, folder).licences() if corpus else []
        for entry in [*entries, *(tokenizers.fetched(tokenizer).licences if tokenizer else [])]:
            print(f"{entry.source:<28} {entry.version:<8} {entry.licence:<14} {entry.package}")
            print(f"{'':<28} {entry.provides}")
        return
    if tokenizer:
        tokenizers.fetched(tokenizer).prepare(folder)
    if corpus:
        corpora.find(corpus, folder).prepare()
    if arguments.semantics:
        if not corpus:
            raise UsageError("--semantics are of a corpus's captions: name one with --corpus")
        semantics.prepare(corpora.find(corpus, folder), arguments.semantics)
