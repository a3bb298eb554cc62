"""Training on embeddings in any form, and on Python's own objects, gives what it gives on the flat folder."""

import copy
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from jpq_pyserini import JPQIndex, TrainConfig, train_index
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.sources import Source

from helpers.embedding_forms import FORMS, HALF, write_form
from helpers.training import FAST, encoder_weights

CONFIG = TrainConfig(**FAST | {"epochs": 1})


@pytest.fixture(scope="module")
def base(tiny, queries, tmp_path_factory):
    """What the flat folder gives."""
    output = tmp_path_factory.mktemp("base") / "jpq"
    train_index(*_given(tiny, queries, output), config=CONFIG, progress=False)
    flat = FlatFolder.open(tiny / "flat")
    return SimpleNamespace(x=np.array(flat.embeddings), docids=list(flat.docids), output=output)


def _given(tiny, queries, output, embeddings=None):
    return (
        tiny / "flat" if embeddings is None else embeddings,
        str(tiny / "encoder"),
        output,
        queries / "train.tsv",
        queries / "train.txt",
    )


def assert_same(one, other):
    assert (one / "index").read_bytes() == (other / "index").read_bytes()
    assert (one / "docid").read_bytes() == (other / "docid").read_bytes()
    weights = encoder_weights(one)
    assert all(np.array_equal(values, weights[name]) for name, values in encoder_weights(other).items())


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[] if form in ("npy", "jsonl") else [pytest.mark.slow])
        for form in FORMS
        if form not in (*HALF, "flat", "array")
    ],
)
def test_the_same_index_from_every_form(tiny, queries, base, tmp_path, form):
    source, docids = write_form(form, tmp_path, base.x, base.docids)
    train_index(*_given(tiny, queries, tmp_path / "out", source), config=CONFIG, docids=docids, progress=False)
    assert_same(tmp_path / "out", base.output)


def test_arrays_dictionaries_and_a_loaded_model(tiny, queries, base, tmp_path):
    model = SentenceTransformer(str(tiny / "encoder"), device="cpu")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    topics, qrels = read_topics(queries / "train.tsv"), read_qrels(queries / "train.txt")
    given = (base.x, model, tmp_path / "out", topics, qrels)
    train_index(*given, config=CONFIG, docids=base.docids, progress=False)
    assert_same(tmp_path / "out", base.output)
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    record = json.loads((tmp_path / "out" / "jpq.json").read_text())
    assert record["encoder"]["name_or_path"] == str(tiny / "encoder")
    assert record["training"]["data"] == {"embeddings": "array", "topics": "dictionary", "qrels": "dictionary"}


def test_docids_that_are_numbers(tiny, queries, base, tmp_path):
    given = _given(tiny, queries, tmp_path / "out", base.x)
    config = TrainConfig(**FAST | {"epochs": 0})
    train_index(*given[:3], config=config, docids=range(len(base.x)), progress=False)
    assert list(JPQIndex.open(tmp_path / "out").docids) == [str(row) for row in range(len(base.x))]


def test_uncompressed_and_referred_to(tiny, queries, base, tmp_path):
    source, docids = write_form("npy", tmp_path, base.x, base.docids)
    adore = TrainConfig(**FAST | {"epochs": 0, "compress": False, "scoring": "flat", "negatives_from": "flat"})
    for output, given in (("one", tiny / "flat"), ("two", source)):
        more = {"docids": docids if output == "two" else None}
        train_index(given, str(tiny / "encoder"), tmp_path / output, config=adore, progress=False, **more)
    assert_same(tmp_path / "two", tmp_path / "one")
    config = TrainConfig(**FAST | {"epochs": 0, "vectors": "flat"})
    with pytest.raises(JPQError, match="is no flat Faiss folder, to which an index could refer"):
        train_index(source, str(tiny / "encoder"), tmp_path / "three", config=config, docids=docids, progress=False)


def test_added_from_every_form(tiny, base, tmp_path):
    index = JPQIndex.open(base.output)
    expected = Source(embeddings=tiny / "flat").codes(index, tmp_path / "no", progress=False)
    source, docids = write_form("npy", tmp_path, base.x, base.docids)
    assert np.array_equal(Source(embeddings=source, docids=docids).codes(index, "no", progress=False), expected)
    with pytest.raises(JPQError, match="--docids goes with --embeddings"):
        Source("corpus", docids=docids)


def test_searchers_are_copied_and_pickled(tiny):
    from jpq_pyserini import JPQFaissSearcher

    model = SentenceTransformer(str(tiny / "encoder"), device="cpu")
    topics = dict(list(read_topics(tiny / "topics.tsv").items())[:3])
    for encoder in (None, model):
        searcher = JPQFaissSearcher(tiny / "index", encoder)
        hits = _scores(searcher.batch_search(topics, k=5))
        assert hits == _scores(searcher.batch_search(list(topics.values()), list(topics), k=5))
        vectors = model.encode_query(list(topics.values()))
        if encoder is not None:
            assert hits == _scores(searcher.batch_search(vectors, list(topics), k=5))
        for other in (copy.copy(searcher), copy.deepcopy(searcher), pickle.loads(pickle.dumps(searcher))):
            assert _scores(other.batch_search(topics, k=5)) == hits


def _scores(found):
    return {qid: [(hit.docid, round(float(hit.score), 4)) for hit in hits] for qid, hits in found.items()}
