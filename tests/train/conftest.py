"""What the tests of training are trained on."""

import pytest


@pytest.fixture(scope="session")
def queries(tmp_path_factory, tiny):
    """120 training queries, each a few words of its passage; 60 of them are the dev queries: random weights cannot
    generalise, but must fit what they are trained on."""
    from helpers.tiny import tiny_corpus

    root = tmp_path_factory.mktemp("queries")
    _, texts = tiny_corpus(300)
    for name, rows in (("train", range(120)), ("dev", range(60))):
        (root / f"{name}.tsv").write_text("".join(f"{i}\t{texts[i]}\n" for i in rows))
        (root / f"{name}.txt").write_text("".join(f"{i} 0 d{i} 1\n" for i in rows))
    return root
