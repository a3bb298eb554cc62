"""Predicted queries: those of a plain loop over a tiny T5, the same after a stop, and what is refused."""

import json

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.expansion import __main__ as expansion
from jpq_pyserini.eval.expansion import prediction
from jpq_pyserini.eval.expansion.prediction import Sampling, predict_queries

from helpers.tiny import tiny_corpus, tiny_encoder, tiny_t5

SAMPLING = Sampling(samples=3, top_k=5, max_query_length=6, batch_size=4, seed=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_t5(tmp_path_factory.mktemp("t5") / "model")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    texts = [text[: 20 + 7 * (number % 5)] for number, text in enumerate(tiny_corpus(10)[0])]
    path.write_text("".join(json.dumps({"id": f"d{n}", "contents": text}) + "\n" for n, text in enumerate(texts)))
    return path


def read(path):
    return [json.loads(line) for line in path.open()]


def test_queries_are_drawn_as_published(model, corpus, tmp_path):
    """Against the loop of the model's page, over passages by falling length."""
    import torch
    from transformers import AutoTokenizer, T5ForConditionalGeneration, set_seed

    assert predict_queries(corpus, str(model), tmp_path / "predicted.jsonl", SAMPLING, device="cpu") == 10
    found = read(tmp_path / "predicted.jsonl")
    assert [each["id"] for each in found] == [f"d{n}" for n in range(10)]
    assert len({query for each in found for query in each["predicted_queries"]}) > 5  # sampled, not one likeliest
    texts = {each["id"]: json.loads(line)["contents"] for each, line in zip(found, corpus.open(), strict=True)}
    t5, tokenizer = T5ForConditionalGeneration.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    order, expected = sorted(texts, key=lambda docid: -len(texts[docid])), {}
    set_seed(7)
    for start in range(0, 10, 4):
        docids = order[start : start + 4]
        inputs = tokenizer([texts[docid] for docid in docids], padding=True, return_tensors="pt")
        with torch.no_grad():
            shared = {"attention_mask": inputs["attention_mask"], "do_sample": True, "top_k": 5}
            tokens = t5.generate(inputs["input_ids"], max_length=7, num_return_sequences=3, **shared)
        queries = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        expected |= {docid: queries[3 * at : 3 * at + 3] for at, docid in enumerate(docids)}
    assert {each["id"]: each["predicted_queries"] for each in found} == expected


def test_a_stopped_run_goes_on_to_the_same_queries(model, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "_CHUNK", 4)
    predict_queries(corpus, str(model), tmp_path / "whole.jsonl", SAMPLING, device="cpu")
    plain, calls = prediction._queries, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(prediction, "_queries", stopping)
    with pytest.raises(KeyboardInterrupt):
        predict_queries(corpus, str(model), tmp_path / "out.jsonl", SAMPLING, device="cpu")
    assert not (tmp_path / "out.jsonl").exists()
    with pytest.raises(JPQError, match="add --resume to continue"):
        predict_queries(corpus, str(model), tmp_path / "out.jsonl", SAMPLING, device="cpu")
    with pytest.raises(JPQError, match="comes from a run with samples=3, this one has 4"):
        predict_queries(corpus, str(model), tmp_path / "out.jsonl", Sampling(samples=4), device="cpu", resume=True)
    predict_queries(corpus, str(model), tmp_path / "out.jsonl", SAMPLING, device="cpu", resume=True)
    assert len(calls) == 4  # the two chunks that were done are kept
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "out.jsonl.predicting").exists()


def test_the_command_and_the_collection_made_of_it(model, corpus, tmp_path, capsys):
    expansion.main(
        ["predict", "--model", str(model), "--corpus", str(corpus), "--output", str(tmp_path / "p.jsonl"),
         "--samples", "2", "--max-query-length", "4", "--device", "cpu"]
    )  # fmt: skip
    assert "wrote 2 queries for each of 10 passages" in capsys.readouterr().out
    expansion.main(
        [
            "queries",
            "--corpus",
            str(corpus),
            "--predictions",
            str(tmp_path / "p.jsonl"),
            "--output",
            str(tmp_path / "d"),
        ]
    )
    documents = read(tmp_path / "d" / "docs00.jsonl")
    first = read(tmp_path / "p.jsonl")[0]["predicted_queries"]
    assert documents[0]["contents"].endswith("\n" + " ".join(filter(None, first)))


def test_other_models_and_numbers_are_refused(corpus, tmp_path):
    with pytest.raises(JPQError, match="cannot load the sequence-to-sequence model"):
        predict_queries(corpus, str(tiny_encoder(tmp_path / "bert")), tmp_path / "out.jsonl", device="cpu")
    with pytest.raises(JPQError, match="--top-k 0 is not"):
        Sampling(top_k=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert"]
