"""``index embed``: the vectors that Pyserini's own command gives, in a folder that Pyserini and training open."""

import json

import faiss
import numpy as np
import pytest

from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import embedding
from jpq_pyserini.index.__main__ import main

from helpers.processes import run_module
from helpers.tiny import tiny_corpus, tiny_encoder


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A corpus of 60 passages, some with titles, and an encoder."""
    root = tmp_path_factory.mktemp("embed")
    texts, _ = tiny_corpus(60, seed=3)
    lines = [json.dumps({"id": f"p{row}", "contents": text}) for row, text in enumerate(texts)]
    (root / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    tiny_encoder(root / "encoder")
    return root


def embed(collection, output, *options):
    arguments = [
        "embed",
        "--corpus",
        collection / "corpus.jsonl",
        "--encoder",
        collection / "encoder",
        "--device",
        "cpu",
    ]
    main([str(each) for each in (*arguments, "--output", output, *options)])
    return FlatFolder.open(output)


@pytest.mark.slow
def test_the_vectors_are_pyserinis(collection, tmp_path):
    """Pyserini's AutoDocumentEncoder is an independent implementation: its own pooling, prefix, norm and cut."""
    options = ("--pooling", "mean", "--l2-norm", "--prefix", "passage:", "--max-length", "16")
    plain = str(collection / "encoder" / "plain")
    arguments = ["embed", "--corpus", collection / "corpus.jsonl", "--encoder", plain, "--device", "cpu", *options]
    main([str(each) for each in (*arguments, "--output", tmp_path / "ours")])
    arguments = ["pyserini.encode", "input", "--corpus", collection / "corpus.jsonl", "--fields", "text"]
    arguments += ["output", "--embeddings", tmp_path / "theirs", "--to-faiss"]
    arguments += [
        "encoder",
        "--encoder",
        plain,
        "--encoder-class",
        "auto",
        "--fields",
        "text",
        "--device",
        "cpu",
        "--dimension",
        32,
    ]
    arguments += ["--dimension", 32, *options]
    run_module(*arguments)
    ours, theirs = FlatFolder.open(tmp_path / "ours"), FlatFolder.open(tmp_path / "theirs")
    assert list(ours.docids) == list(theirs.docids)
    np.testing.assert_allclose(ours.embeddings, theirs.embeddings, atol=1e-5)


def test_faiss_reads_what_is_written_and_the_settings_are_kept(collection, tmp_path):
    flat = embed(collection, tmp_path / "flat", "--max-length", "9", "--prefix", "didi")
    index = faiss.read_index(str(tmp_path / "flat" / "index"))
    assert type(index) is faiss.IndexFlatIP
    assert np.array_equal(index.reconstruct_n(0, 60), flat.embeddings)
    assert flat.encoder == {
        "name_or_path": str(collection / "encoder"),
        "pooling": None,
        "l2_norm": False,
        "max_length": 9,
        "passage_prefix": "didi",
    }
    plain = embed(collection, tmp_path / "plain")
    assert not np.allclose(plain.embeddings, flat.embeddings, atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat", "plain"]


def test_passages_that_the_model_cuts_are_told_of(collection, tmp_path, caplog):
    lines = [json.dumps({"id": f"p{n}", "contents": "bace " * (60 if n % 2 else 40)}) for n in range(10)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    given = (tmp_path / "corpus.jsonl", str(collection / "encoder"))
    embedding.embed_corpus(*given, tmp_path / "flat", device="cpu")
    (said,) = caplog.messages
    assert said.startswith("50% of the passages (of 10 looked at) are longer than the 48 tokens")
    assert said.endswith(
        "the longest has 62: split them into shorter ones, or encode them with `jpq index embed --max-length N`"
    )
    embedding.embed_corpus(*given, tmp_path / "short", device="cpu", max_length=20)  # as asked for
    assert len(caplog.messages) == 1


@pytest.mark.slow
def test_a_backend_gives_the_same_vectors(collection, tmp_path):
    pytest.importorskip("onnx")
    torch, onnx = (embed(collection, tmp_path / name, "--encoder-backend", name) for name in ("torch", "onnx"))
    np.testing.assert_allclose(onnx.embeddings, torch.embeddings, atol=1e-4)
    assert (torch.encoder.get("backend"), onnx.encoder["backend"]) == (None, "onnx")
    auto = embed(collection, tmp_path / "auto", "--encoder-backend", "auto")
    np.testing.assert_allclose(auto.embeddings, torch.embeddings, atol=1e-4)


def test_stopped_and_resumed(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "CHUNK", 16)
    monkeypatch.setattr("jpq_pyserini.index.coding.CHUNK", 16)
    whole = embed(collection, tmp_path / "whole")
    plain, calls = embedding.check_finite, []

    def stopped(embeddings, docids):
        calls.append(docids[0])
        if len(calls) == 3:
            raise KeyboardInterrupt
        plain(embeddings, docids)

    monkeypatch.setattr(embedding, "check_finite", stopped)
    with pytest.raises(KeyboardInterrupt):
        embed(collection, tmp_path / "flat")
    assert not (tmp_path / "flat").exists()
    with pytest.raises(JPQError, match="add --resume to continue from it"):
        embed(collection, tmp_path / "flat")
    with pytest.raises(JPQError, match="comes from a run with another encoder"):
        embed(collection, tmp_path / "flat", "--resume", "--max-length", "9")
    again = embed(collection, tmp_path / "flat", "--resume")
    assert calls == ["p0", "p16", "p32", "p32", "p48"]
    assert np.array_equal(again.embeddings, whole.embeddings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat", "whole"]


def test_what_is_refused_leaves_nothing(collection, tmp_path):
    for options, message in (
        ({"batch_size": 0}, "batch size of 0"),
        ({"max_length": 0}, "maximum length of 0"),
        ({"backend": "tpu"}, "backend 'tpu' is unknown"),
    ):
        with pytest.raises(JPQError, match=message):
            embedding.embed_corpus(
                collection / "corpus.jsonl", str(collection / "encoder"), tmp_path / "flat", device="cpu", **options
            )
    (tmp_path / "twice.jsonl").write_text('{"id": "p0", "contents": "a"}\n' * 2)
    with pytest.raises(JPQError, match="docid p0 is twice"):
        embedding.embed_corpus(tmp_path / "twice.jsonl", str(collection / "encoder"), tmp_path / "flat")
    assert [path.name for path in tmp_path.iterdir()] == ["twice.jsonl"]
