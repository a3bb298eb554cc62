"""JPQFaissSearcher, stock FaissSearcher and numpy give the same docids and scores."""

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQIndex
from jpq_pyserini.encoder import JPQQueryEncoder

from pyserini.search.faiss import FaissSearcher  # isort: skip


@pytest.fixture(scope="module")
def topics(tiny) -> dict[str, str]:
    return dict(line.rstrip("\n").split("\t") for line in (tiny / "topics.tsv").open())


def pairs(hits):
    return [(hit.docid, hit.score) for hit in hits]


def test_three_ways_to_the_same_scores(tiny, topics):
    ours = JPQFaissSearcher(tiny / "index")
    stock = FaissSearcher(str(tiny / "index"), JPQQueryEncoder(str(tiny / "index")))
    index = JPQIndex.open(tiny / "index")
    batch = ours.batch_search(list(topics.values()), list(topics), k=300, threads=2)
    stock_batch = stock.batch_search(list(topics.values()), list(topics), k=300)
    expected = index.codec.scores(ours.query_encoder.encode_batch(list(topics.values())), index.codes)
    for row, (qid, query) in enumerate(topics.items()):
        assert [docid for docid, _ in pairs(batch[qid])] == [docid for docid, _ in pairs(stock_batch[qid])]
        scores = dict(pairs(batch[qid]))
        assert len(scores) == 300
        assert np.allclose([scores[docid] for docid in index.docids], expected[row], atol=1e-5)
        assert np.allclose(
            [s for _, s in pairs(stock.search(query, 10))], [s for _, s in pairs(batch[qid])][:10], atol=1e-5
        )
        assert [d for d, _ in pairs(ours.search(query, 10))] == [d for d, _ in pairs(stock.search(query, 10))]


def test_more_hits_than_documents_and_empty_query(tiny):
    searcher = JPQFaissSearcher(tiny / "index")
    assert len(searcher.search("bace", 1000)) == 300
    assert len(searcher.search("", 5)) == 5


def test_feedback_vectors_are_decoded_documents(tiny):
    searcher, index = JPQFaissSearcher(tiny / "index"), JPQIndex.open(tiny / "index")
    query, hits = searcher.search("bace dife", k=3, return_vector=True)
    assert query.shape == (1, 32)
    for hit in hits:
        row = index.docids.index(hit.docid)
        assert np.allclose(hit.vectors, index.codec.decode(index.codes[row : row + 1])[0], atol=1e-5)
        assert hit.score == pytest.approx(float(query[0] @ hit.vectors), abs=1e-4)


def test_another_encoder_may_be_given(tiny):
    unbound = JPQQueryEncoder("jpq")
    searcher = JPQFaissSearcher(tiny / "index", unbound)
    assert searcher.query_encoder is unbound
    assert unbound.is_bound
    vector = unbound.encode("bace")
    assert pairs(searcher.search(vector.reshape(1, -1), 5)) == pairs(JPQFaissSearcher(tiny / "index").search("bace", 5))


def test_not_a_jpq_index(tiny, tmp_path):
    with pytest.raises(JPQError, match=r"flat has no jpq.json"):
        JPQFaissSearcher(tiny / "flat")
    with pytest.raises(JPQError, match="is no directory"):
        JPQFaissSearcher(tmp_path / "nowhere")
