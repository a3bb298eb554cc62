"""The authors' release: files of exactly their layout, imported, give the scores of their formulas."""

import json
import os
import pickle

import faiss
import numpy as np
import pytest
import torch

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.index.imported.convert import import_release
from jpq_pyserini.index.imported.encoder import old_tokenizer

from helpers.release_files import D, M, old_ids, vocabulary, write_encoder
from helpers.tiny import tiny_corpus

QUERIES = [
    "What is the  CAT?",
    "what",
    "",
    " ",
    "don't THE ha\tHAT's 12 Ünï ΣΑΣ…",
    "a " * 60,
    "trailing space \n",
    "  two",
]


def test_ids_by_hand(imported):
    """Worked out with pencil and the merges: lower case, a space before the first word, <s> and </s> around."""
    table = {
        "What": ["Ġwhat"],
        " What": ["Ġwhat"],
        "WHAT IS": ["Ġwhat", "Ġis"],
        "what  is": ["Ġwhat", "Ġ", "Ġis"],
        "hat what": ["Ġ", "hat", "Ġwhat"],
        "the cat ": ["Ġthe", "Ġc", "a", "t"],
        "it's": ["Ġ", "i", "t", "'", "s"],
        "A1": ["Ġa", "1"],
        "É": ["Ġ", "Ã", "©"],
        "": [],
        " ": [],
    }
    tokenizer = load_text_encoder(str(imported / "query_encoder")).tokenizer
    ids = {text: [vocabulary()[token] for token in tokens] for text, tokens in table.items()}
    assert ids["WHAT IS"] == [263, 265]  # the fourth and the sixth merge, after 4 special tokens and 256 bytes
    for text, expected in ids.items():
        assert tokenizer(text)["input_ids"] == [0, *expected, 2], text
        assert old_ids(text) == [0, *expected, 2], text


def test_ids_of_many_texts(release):
    tokenizer = old_tokenizer(release / f"m{M}")
    random = np.random.default_rng(0)
    alphabet = [*"aeht iswcTHE  '.,-12éßΣİ\t\n€", "'ll", "'re", "what", " the "]
    for _ in range(500):
        text = "".join(random.choice(alphabet, size=random.integers(1, 30))).lstrip()
        assert tokenizer(text)["input_ids"] == old_ids(text), repr(text)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_query_encoder_gives_their_embeddings(release, imported, batch_size):
    theirs = write_encoder_again(release / f"m{M}").embed([query.strip() for query in QUERIES], 32)
    model = load_text_encoder(str(imported / "query_encoder"))
    ours = embed_queries(model, [query.strip() for query in QUERIES], batch_size=batch_size)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert model.max_seq_length == 32
    assert [module.__class__.__name__ for module in model] == ["Transformer", "Pooling", "Dense", "LayerNorm"]


def write_encoder_again(folder):
    """Load the saved weights into the formula, so that nothing but the files is compared."""
    from helpers.release_files import RobertaDot

    model = RobertaDot(seed=99)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    model.load_state_dict({name: value for name, value in weights.items() if name in model.state_dict()})
    return model


def test_same_ranking_as_their_formula(release, index_file, imported):
    from jpq_pyserini import JPQFaissSearcher

    queries = tiny_corpus(300)[1][:20]
    vectors = write_encoder_again(release / f"m{M}").embed(queries, 32)
    theirs = faiss.read_index(str(index_file))
    assert np.abs(faiss.downcast_index(theirs.index).quantizer.reconstruct(0)).max() > 0.01  # a real coarse centroid
    scores, rows = theirs.search(vectors, 300)
    by_row = np.take_along_axis(scores, np.argsort(rows), axis=1)
    np.testing.assert_allclose(by_row, vectors @ theirs.reconstruct_n(0, 300).T, atol=1e-3)  # eq. 6, by numpy
    index = JPQIndex.open(imported)
    np.testing.assert_allclose(index.codec.scores(vectors, index.codes), by_row, atol=1e-3)
    searcher = JPQFaissSearcher(imported)
    for query, wanted, expected in zip(queries, rows, scores, strict=True):
        hits = searcher.search(query, k=300)
        np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-3)
        assert_same_order([int(hit.docid) for hit in hits], wanted, expected)
    assert len(searcher.search("", k=3)) == 3


def assert_same_order(found, wanted, scores):
    """Compare where neighbours are farther apart than rounding."""
    distinct = np.diff(scores, prepend=np.inf, append=-np.inf) < -1e-3
    alone = distinct[:-1] & distinct[1:]
    assert alone.sum() > 100
    assert np.array_equal(np.array(found)[alone], wanted[alone])


def test_external_ids(release, index_file, imported, tmp_path):
    assert JPQIndex.open(imported).docids[:2] == ["0", "1"]
    with_ids = import_release(
        release / f"m{M}", tmp_path / "ids", index=index_file, collection=release / "collection.tsv"
    )
    assert JPQIndex.open(with_ids).docids == [f"D{7 * i}" for i in range(300)]
    (tmp_path / "docids").write_text("".join(f"x{i}\n" for i in range(299)))
    with pytest.raises(JPQError, match="docids has 299 documents, the index 300"):
        import_release(release / f"m{M}", tmp_path / "out", index=index_file, docids=tmp_path / "docids")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def dual(release, index_file):
    """Dual encoders of the release: the documents' centroids before training, the queries' after it, one rotation."""
    index = faiss.read_index(str(index_file))
    rotation = faiss.vector_to_array(faiss.downcast_VectorTransform(index.chain.at(0)).A).reshape(D, D)
    trained = faiss.vector_to_array(faiss.downcast_index(index.index).pq.centroids).reshape(M, 256, D // M)
    first = trained + np.random.default_rng(2).normal(0, 0.05, trained.shape).astype(np.float32)
    write_encoder(release / "q", 6, trained, rotation)
    write_encoder(release / "d", 5, first, rotation)
    return trained, first, rotation


@pytest.mark.slow
def test_zero_shot(release, dual, tmp_path):
    trained, first, rotation = dual
    texts, queries = tiny_corpus(60, seed=3)
    lines = [json.dumps({"_id": f"x{i}", "title": "Ba", "text": text}) for i, text in enumerate(texts)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    made = import_release(
        release / "q",
        tmp_path / "out",
        document_encoder=release / "d",
        collection=tmp_path / "corpus.jsonl",
    )
    documents = write_encoder_again(release / "d").embed([f"Ba. {text}" for text in texts], 64)
    vectors = write_encoder_again(release / "q").embed(queries[:10], 64)
    theirs = faiss.IndexIVFPQ(faiss.IndexFlatL2(D), D, 1, M, 8, faiss.METRIC_INNER_PRODUCT)  # as their encode_corpus
    theirs.quantizer.add(np.zeros((1, D), np.float32))
    theirs.is_trained = True
    faiss.copy_array_to_vector(first.ravel(), theirs.pq.centroids)
    theirs.add(documents @ rotation.T)
    faiss.copy_array_to_vector(trained.ravel(), theirs.pq.centroids)
    scores, rows = theirs.search(vectors @ rotation.T, 60)
    index = JPQIndex.open(made)
    assert index.docids[:2] == ["x0", "x1"]
    found = index.codec.scores(embed_queries(load_text_encoder(str(made / "query_encoder")), queries[:10]), index.codes)
    np.testing.assert_allclose(np.take_along_axis(found, rows, axis=1), scores, atol=1e-3)
    # Their script saves such an index without its rotation, which is the encoder's then.
    faiss.write_index(theirs, str(tmp_path / "bare.index"))
    again = JPQIndex.open(import_release(release / "q", tmp_path / "again", index=tmp_path / "bare.index"))
    np.testing.assert_array_equal(again.codes, index.codes)
    np.testing.assert_allclose(again.codec.scores(vectors, again.codes), found, atol=1e-3)


def test_document_side(release, index_file, dual, tmp_path):
    from jpq_pyserini import JPQDocumentEncoder

    _, first, _ = dual
    made = import_release(release / "q", tmp_path / "out", index=index_file, document_encoder=release / "d")
    index = JPQIndex.open(made)
    np.testing.assert_array_equal(index.codec.assignment_centroids, first)
    made = made.rename(tmp_path / "moved")
    texts = tiny_corpus(3)[0]
    ours = JPQDocumentEncoder(str(made)).encode(texts)
    np.testing.assert_allclose(ours, write_encoder_again(release / "d").embed(texts, 64), atol=2e-5)


class Evil:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("pickle", "pickle with code, which is not run"),
        ("cut", "damaged"),
        ("no weights", r"has no pytorch_model\.bin"),
        ("no head", "no weights called embeddingHead.weight"),
        ("fewer layers", "the weights do not fit config.json"),
        ("no config", "config.json is missing: name a query encoder folder"),
        ("bert", "is a bert model"),
        ("no tokenizer", "cannot load the tokenizer 'roberta-base'.*--tokenizer"),
        ("dimension", "dimension 16, the encoder"),
        ("flat", "is a IndexFlat"),
        ("cut index", "truncated or no Faiss index"),
        ("no index", "--document-encoder is missing"),
    ],
)
def test_bad_files_end_in_one_line(release, index_file, tmp_path, fault, reason, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    encoder, index = tmp_path / "encoder", tmp_path / "index"
    write_encoder(encoder, seed=6, tokenizer=fault != "no tokenizer")
    weights, config = encoder / "pytorch_model.bin", encoder / "config.json"
    index.write_bytes(index_file.read_bytes()[: 5000 if fault == "cut index" else None])
    if fault == "pickle":
        with weights.open("wb") as file:
            pickle.dump({"norm.weight": Evil(tmp_path / "evil")}, file)
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif fault == "no weights":
        weights.unlink()
    elif fault == "no head":
        torch.save({"roberta.x": torch.zeros(1)}, weights)
    elif fault == "fewer layers":
        config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    elif fault == "no config":
        config.unlink()
    elif fault == "bert":
        config.write_text('{"model_type": "bert"}')
    elif fault == "dimension":
        small = faiss.IndexIVFPQ(faiss.IndexFlatL2(16), 16, 1, 8, 8, faiss.METRIC_INNER_PRODUCT)
        small.quantizer.add(np.zeros((1, 16), np.float32))
        small.is_trained = True
        faiss.write_index(small, str(index))
    elif fault == "flat":
        faiss.write_index(faiss.IndexFlatIP(D), str(index))
    with pytest.raises(JPQError, match=reason) as caught:
        import_release(encoder, tmp_path / "out", index=None if fault == "no index" else index)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()
