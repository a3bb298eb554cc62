"""Documents by their best passage (MaxP), with Pyserini's own flags: docids D#passage."""

import numpy as np
import pytest

from jpq_pyserini.data.runs import read_run
from jpq_pyserini.eval.measures import trec_order

from helpers.processes import run_module
from helpers.tiny import tiny_corpus, tiny_index

PASSAGES = 3


@pytest.mark.slow
def test_max_passage_gives_each_document_its_best_passage(tiny, tmp_path):
    import faiss
    from sentence_transformers import SentenceTransformer

    texts, queries = tiny_corpus(300)
    docids = [f"D{row // PASSAGES}#{row % PASSAGES}" for row in range(300)]
    tiny_index(tmp_path / "index", tiny / "encoder", texts, docids=docids)
    flags = ["--encoder", "jpq", "--index", tmp_path / "index", "--topics", tiny / "topics.tsv", "--batch-size", 8]
    maxp = ["--hits", 300, "--max-passage", "--max-passage-hits", 20]
    run_module("pyserini.search.faiss", *flags, *maxp, "--output", tmp_path / "run.txt")
    run = read_run(tmp_path / "run.txt")

    index = faiss.read_index(str(tmp_path / "index" / "index"))
    vectors = SentenceTransformer(str(tiny / "encoder"), device="cpu").encode(queries[:20])
    scores, rows = index.search(vectors, 300)
    assert len(run) == 20
    for i in range(20):
        by_passage = np.empty(300)
        by_passage[rows[i]] = scores[i]
        best = by_passage.reshape(-1, PASSAGES).max(axis=1)  # (100,): of D0 to D99
        hits = run[f"q{i}"]
        found = [int(docid[1:]) for docid in trec_order(hits)]
        assert len(set(found)) == len(hits) == 20
        np.testing.assert_allclose([hits[f"D{document}"] for document in found], best[found], atol=1e-3)
        np.testing.assert_allclose(best[found], np.sort(best)[::-1][:20], atol=1e-3)
