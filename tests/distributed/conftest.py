"""A corpus in several files, larger than what is encoded at once, and the index that one process builds of it."""

import gzip
from pathlib import Path

import pytest

from jpq_pyserini.timing import use_threads


@pytest.fixture(autouse=True)
def one_thread():
    """Sums of floats are in another order with more threads."""
    with use_threads(1):
        yield


@pytest.fixture(scope="session")
def collection(tiny, tmp_path_factory) -> Path:
    """A folder with ``corpus`` (three files, 6,500 documents, 2,048 of which are encoded at once) and, built and
    embedded by one process, ``whole`` and ``flat``."""
    from jpq_pyserini.index.__main__ import main

    from helpers.collection import build_arguments, embed_arguments, lines

    root = tmp_path_factory.mktemp("collection")
    corpus = root / "corpus"
    corpus.mkdir()
    (corpus / "part-0.jsonl").write_text(lines(0, 3000))
    (corpus / "part-1.jsonl.gz").write_bytes(gzip.compress(lines(3000, 3100).encode()))
    (corpus / "part-2.jsonl").write_text(lines(3100, 6500))
    with use_threads(1):
        main([*build_arguments(tiny, root), "--output", str(root / "whole")])
        main([*embed_arguments(tiny, root), "--output", str(root / "flat")])
    return root
