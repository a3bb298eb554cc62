"""JPQFaissSearcher, stock FaissSearcher and numpy give the same docids and scores."""

import copy
import pickle
import shutil
from functools import partial

import joblib
import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQIndex
from jpq_pyserini.index.layouts import LAYOUTS
from jpq_pyserini.plugin.encoders import JPQQueryEncoder

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


@pytest.fixture(scope="module")
def converted(tiny, tmp_path_factory):
    """The tiny index in every layout; every list is visited."""
    root = tmp_path_factory.mktemp("converted")
    index = JPQIndex.open(tiny / "index")
    for layout in LAYOUTS:
        lists = {"nlist": 6, "nprobe": 6} if layout.startswith("ivf") else {}
        copy = partial(shutil.copytree, tiny / "index" / "query_encoder")
        index.convert(layout, **lists).save(root / layout, copy)
    return root


@pytest.mark.parametrize(
    "layout",
    [pytest.param(layout, marks=[] if layout in ("pq", "ivf-fastscan") else [pytest.mark.slow]) for layout in LAYOUTS],
)
def test_one_answer_whatever_the_layout_searcher_and_batch(converted, tiny, topics, layout):
    """Also stock FaissSearcher, with feedback vectors from the layout where Faiss has none."""
    expected = JPQFaissSearcher(tiny / "index").batch_search(list(topics.values()), list(topics), k=40)
    stock = FaissSearcher(str(converted / layout), "jpq")
    assert type(stock) is FaissSearcher
    for searcher in (JPQFaissSearcher(converted / layout), stock):
        batch = searcher.batch_search(list(topics.values()), list(topics), k=40, threads=2)
        for qid, query in topics.items():
            assert [docid for docid, _ in pairs(batch[qid])] == [docid for docid, _ in pairs(expected[qid])]
            assert np.allclose([s for _, s in pairs(batch[qid])], [s for _, s in pairs(expected[qid])], atol=2e-6)
            assert [docid for docid, _ in pairs(searcher.search(query, 5))] == [d for d, _ in pairs(expected[qid])][:5]
        _, hits = searcher.batch_search(list(topics.values()), list(topics), k=3, return_vector=True)
        codec, codes = JPQIndex.open(tiny / "index").codec, JPQIndex.open(tiny / "index").codes
        for hit in hits["q3"]:
            row = int(hit.docid[1:])
            assert np.allclose(hit.vectors, codec.decode(codes[row : row + 1])[0], atol=1e-5)


def test_mapped_and_nprobe(converted, topics):
    plain = JPQFaissSearcher(converted / "pq")
    for layout in ("pq", "ivf"):
        mapped = JPQFaissSearcher(converted / layout, plain.query_encoder, mmap=True)
        assert [d for d, _ in pairs(mapped.search("bace dife", 20))] == [
            d for d, _ in pairs(plain.search("bace dife", 20))
        ]
    with pytest.raises(JPQError, match="layout fastscan, which Faiss cannot memory-map"):
        JPQFaissSearcher(converted / "fastscan", mmap=True)
    few = JPQFaissSearcher(converted / "ivf-fastscan", nprobe=1)
    assert 0 < len(few.search("bace dife", 300)) < 300
    with pytest.raises(JPQError, match="no lists"):
        JPQFaissSearcher(converted / "pq", nprobe=1)


def test_another_encoder_may_be_given(tiny):
    unbound = JPQQueryEncoder("jpq")
    searcher = JPQFaissSearcher(tiny / "index", unbound)
    assert searcher.query_encoder is unbound
    assert unbound.is_bound
    vector = unbound.encode("bace")
    assert pairs(searcher.search(vector.reshape(1, -1), 5)) == pairs(JPQFaissSearcher(tiny / "index").search("bace", 5))


def test_a_folder_of_sentence_transformers_keeps_its_pooling(tiny):
    """Pyserini's own loading would take CLS from it."""
    given, own = JPQFaissSearcher(tiny / "index", tiny / "encoder"), JPQFaissSearcher(tiny / "index")
    assert pairs(given.search("bace dife kale", 5)) == pairs(own.search("bace dife kale", 5))
    texts = np.array(["bace", "dife kale"])
    assert pairs(given.batch_search(texts, ["a", "b"], k=3)["b"]) == pairs(
        own.batch_search(list(texts), ["a", "b"], k=3)["b"]
    )
    vector = own.query_encoder.encode("bace")
    for form in (vector, vector.astype(np.float64), torch.tensor(vector), vector.reshape(1, -1)):
        assert pairs(own.search(form, 3)) == pairs(own.search("bace", 3))
    assert own.batch_search([], [], k=3) == {}
    vectors, hits = own.batch_search([], [], k=3, return_vector=True)
    assert (vectors.shape, hits) == ((0, 32), {})
    with pytest.raises(JPQError, match="a query vector of 5 dimensions: the index has 32"):
        own.search(vector[:5])
    with pytest.raises(JPQError, match=r"no modules.json, so its pooling is unknown: give AutoQueryEncoder\("):
        JPQFaissSearcher(tiny / "index", str(tiny / "encoder" / "plain"))


def test_not_a_jpq_index(tiny, tmp_path):
    with pytest.raises(JPQError, match=r"flat has no jpq.json"):
        JPQFaissSearcher(tiny / "flat")
    with pytest.raises(JPQError, match="is no directory"):
        JPQFaissSearcher(tmp_path / "nowhere")


def test_copies_open_the_directory_again(tiny):
    searcher = JPQFaissSearcher(tiny / "index", margin=7, rescore=0)
    for again in (pickle.loads(pickle.dumps(searcher)), copy.deepcopy(searcher)):
        assert type(again) is JPQFaissSearcher
        assert (again.index.margin, again._rescore) == (7, 0)
        ours, theirs = ([(hit.docid, hit.score) for hit in each.search("bace didi", 5)] for each in (again, searcher))
        assert ours == theirs


class Searched(torch.utils.data.Dataset):
    """The hits of texts, found where the items are made."""

    def __init__(self, searcher, texts):
        self.searcher, self.texts = searcher, texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, number):
        return [(hit.docid, hit.score) for hit in self.searcher.search(self.texts[number], 5)]


def test_it_searches_in_forked_workers_of_a_data_loader(tiny):
    searched = Searched(JPQFaissSearcher(tiny / "index", rescore=0), ["bace didi", "foba", "gugu lemi"])
    options = {"batch_size": None, "num_workers": 1, "timeout": 100, "multiprocessing_context": "fork"}
    assert list(torch.utils.data.DataLoader(searched, collate_fn=lambda hits: hits, **options)) == [
        searched[number] for number in range(3)
    ]


@pytest.mark.slow
def test_it_searches_in_processes_of_joblib(tiny):
    searcher, texts = JPQFaissSearcher(tiny / "index"), ["bace didi", "foba"]

    def found(text):
        return [(hit.docid, hit.score) for hit in searcher.search(text, 5)]

    with joblib.externals.loky.get_reusable_executor(max_workers=1) as process:  # as joblib.Parallel does with more
        assert list(process.map(found, texts)) == list(map(found, texts))
