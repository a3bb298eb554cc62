"""A corpus in several files, larger than what is encoded at once, and the index that one process builds of it."""

import gzip
import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums of floats are in another order with more threads


@pytest.fixture(scope="session")
def collection(tiny, tmp_path_factory) -> Path:
    """A folder with ``corpus`` (three files, 8,500 documents, 2,048 of which are encoded at once) and, built and
    embedded by one process, ``whole`` and ``flat``."""
    from jpq_pyserini.index.__main__ import main

    from helpers.collection import build_arguments, embed_arguments, lines

    root = tmp_path_factory.mktemp("collection")
    corpus = root / "corpus"
    corpus.mkdir()
    (corpus / "part-0.jsonl").write_text(lines(0, 5000))
    (corpus / "part-1.jsonl.gz").write_bytes(gzip.compress(lines(5000, 5100).encode()))
    (corpus / "part-2.jsonl").write_text(lines(5100, 8500))
    main([*build_arguments(tiny, root), "--output", str(root / "whole")])
    main([*embed_arguments(tiny, root), "--output", str(root / "flat")])
    return root
