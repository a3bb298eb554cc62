"""Before training: signs that encoder, embeddings and queries do not go together; their score uncompressed."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
import torch

from jpq_pyserini import JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.data.topics import TrainingQuery
from jpq_pyserini.encoders.kinship import share_before, warn_of_stranger
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.__main__ import main as index_command
from jpq_pyserini.train.__main__ import main as train_command
from jpq_pyserini.train.inputs import EncoderSource
from jpq_pyserini.train.start_check import warn_of_cut, warn_of_misfits

from helpers.tiny import tiny_corpus, tiny_encoder
from helpers.training import run


@pytest.fixture(scope="module")
def parts(tiny):
    """The tiny encoder, its embeddings and 40 queries."""
    texts = tiny_corpus(300)[1]
    queries = [TrainingQuery(str(row), texts[row], [row]) for row in range(40)]
    return EncoderSource(str(tiny / "encoder")), FlatFolder.open(tiny / "flat"), queries


def warnings_of(caplog, encoder, flat, queries) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        warn_of_misfits(encoder, flat, queries)
    return "\n".join(caplog.messages)


def test_what_belongs_together_passes_in_silence(parts, caplog):
    source, flat, queries = parts
    assert warnings_of(caplog, source.load(flat, 32, "cpu"), flat, queries) == ""


def test_another_encoder_of_the_same_dimension(parts, caplog, tmp_path):
    _, flat, queries = parts
    other = EncoderSource(str(tiny_encoder(tmp_path / "other", seed=9))).load(flat, 32, "cpu")
    assert "chance is 50%" in warnings_of(caplog, other, flat, queries)


def test_embeddings_of_another_scale(parts, caplog, tmp_path):
    source, flat, queries = parts
    norms = np.linalg.norm(flat.embeddings, axis=1, keepdims=True)
    normalised = FlatFolder.write(tmp_path / "flat", list(flat.docids), [flat.embeddings / norms])
    said = warnings_of(caplog, source.load(flat, 32, "cpu"), normalised, queries)
    assert "the embeddings of 1; only the latter are all 1: were they made by this encoder, and normalised" in said


def test_queries_that_are_cut_are_told_of_once(parts, caplog):
    source, _, queries = parts
    encoder = source.load(parts[1], 5, "cpu")
    short = [TrainingQuery(query.qid, "vovo", query.rows) for query in queries]
    for training, dev, kind in ((queries, queries, "training"), (short, queries, "dev"), ([], queries, "dev")):
        caplog.clear()
        warn_of_cut(encoder, training, dev, 5)
        (said,) = caplog.messages
        assert said.startswith(f"100% of the {kind} queries (of 40 looked at) are longer than the 5 tokens")
        assert said.endswith("the longest has 6: raise --max-query-length, which is 5")
    caplog.clear()
    warn_of_cut(encoder, short, [], 5)
    assert not caplog.messages
    with pytest.raises(JPQError, match="--max-query-length 99 is more than the encoder's 64 positions"):
        source.load(parts[1], 99, "cpu")


def test_a_vector_that_depends_on_its_batch(parts, caplog, monkeypatch):
    source, flat, queries = parts

    def padded(encoder, texts):
        return torch.tensor([[1.0, 0.01 * max(map(len, texts))]]).repeat(len(texts), 1)

    monkeypatch.setattr("jpq_pyserini.train.start_check.embed_with_gradients", padded)
    asked = [*queries[:3], queries[3]._replace(text=queries[3].text * 2)]  # of 19 and 38 letters
    said = warnings_of(caplog, source.load(flat, 32, "cpu"), flat, asked)
    assert f"beside longer ones than alone ({100 * 0.19 / np.hypot(1, 0.19):.0f}% of its length away)" in said


def test_a_passage_encoder_that_does_not_go_with_the_index(tiny, tmp_path, caplog):
    texts, _ = tiny_corpus(40)
    for seed, said in ((0, ""), (9, "encoded by given (chance is 50%): is it the encoder that made the documents")):
        encoder = load_text_encoder(str(tiny_encoder(tmp_path / str(seed), seed=seed)))
        warn_of_stranger(encoder, "given", tiny / "index" / "query_encoder", texts)
        assert said in caplog.text
        assert bool(caplog.messages) == bool(said)


def test_share_before():
    passages = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert share_before(np.array([[1.0]]), np.array([[3.0]]), passages) == (1 / 4 + 2 / 4) / 2
    assert share_before(np.array([[0.0]]), np.array([[3.0]]), passages) == 0.5


def test_the_uncompressed_score_stands_beside_that_of_the_codes(tiny, queries, tmp_path):
    report = run(tiny, queries, tmp_path / "jpq", epochs=0)
    vectors = embed_queries(load_text_encoder(str(tiny / "encoder")), tiny_corpus(300)[1][:60])
    order = np.argsort(-vectors @ FlatFolder.open(tiny / "flat").embeddings.T, axis=1)[:, :10]
    ranks = [np.flatnonzero(rows == row) for row, rows in enumerate(order)]
    expected = np.mean([1 / (1 + rank[0]) if len(rank) else 0.0 for rank in ranks])
    assert report.curve.points[0]["uncompressed rr@10"] == pytest.approx(expected)
    assert f"uncompressed, before training: {expected:.4f}" in str(report)


@pytest.mark.slow
def test_from_passages_to_added_passages(tiny, tmp_path, monkeypatch, capsys):
    """Pooling, norm, prefix, length and dimension of ``embed`` come back when passages are added: equal codes."""
    monkeypatch.chdir(tmp_path)
    texts, _ = tiny_corpus(300)
    for name, rows in (("corpus", range(300)), ("more", range(20))):
        lines = [json.dumps({"id": f"{name}{row}", "contents": texts[row]}) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    encoder = shutil.copytree(tiny / "encoder" / "plain", tmp_path / "plain")
    made = ["--pooling", "mean", "--l2-norm", "--prefix", "vovo vovo", "--max-length", "9", "--truncate-dim", "16"]
    index_command(
        ["embed", "--corpus", "corpus.jsonl", "--encoder", "plain", "--output", "flat", "--device", "cpu", *made]
    )
    settings = ["--m", "8", "--nbits", "4", "--opq-iterations", "3", "--epochs", "0", "--device", "cpu"]
    train_command(["--embeddings", "flat", "--encoder", "./plain", "--output", "jpq", *settings])
    assert JPQIndex.open("jpq").record.encoder == {
        "name_or_path": os.path.realpath(encoder),
        "pooling": "mean",
        "l2_norm": True,
        "max_length": 9,
        "prompt": None,
        "passage_prefix": "vovo vovo",
        "truncate_dim": 16,
    }
    index_command(["add", "--index", "jpq", "--corpus", "more.jsonl", "--output", "more", "--device", "cpu"])
    codes = JPQIndex.open("more").codes
    assert np.array_equal(codes[300:], codes[:20])
    capsys.readouterr()
    index_command(["describe", "--index", "more"])
    described = capsys.readouterr().out
    assert "metric     inner product\n" in described
    made = "pooling mean, normalised, passages truncated at 9 tokens, passage prefix 'vovo vovo'"
    assert f"encoder    {os.path.realpath(encoder)} ({made})\n" in described
    assert "queries    truncated at 32 tokens, no prompt, normalised\n" in described
