"""Smaller query encoders: what they are made of, how near they come to the full one, and that indexes carry them."""

import json

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex, JPQQueryEncoder, StudentConfig, TrainConfig, train_index
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.made_queries import queries_of
from jpq_pyserini.encoders.students import fit, some_layers, token_table, with_dimension
from jpq_pyserini.encoders.text_encoder import embed_queries, kind_of, load_text_encoder
from jpq_pyserini.index.description import as_text
from jpq_pyserini.train import student as imitation
from jpq_pyserini.train.inputs import EncoderSource

from helpers.tiny import WORDS, tiny_encoder
from helpers.training import FAST

QUERIES = ["bace dife gu", "kale", "mino pura seti vo bace"]


@pytest.fixture(scope="module")
def full(tiny):
    return load_text_encoder(str(tiny / "encoder"))


def trained(tiny, queries, output, source, **settings):
    settings = {**FAST, "dropout": False, "epochs": 1, "encoder_lr": 1e-4, **settings}
    topics = (queries / "train.tsv", queries / "train.txt") if settings["epochs"] else (None, None)
    train_index(tiny / "flat", source, output, *topics, config=TrainConfig(**settings), progress=False)
    return JPQIndex.open(output)


def test_layers_are_the_full_encoders(full):
    assert some_layers(full, 2)[0].model.encoder.layer[1] is not full[0].model.encoder.layer[1]
    smaller = some_layers(full, 1)
    assert len(full[0].model.encoder.layer) == 2  # untouched
    features = full.preprocess(QUERIES)
    states = full[0].model(**features, output_hidden_states=True).hidden_states[1]
    found = smaller[0].model(**features).last_hidden_state
    assert np.allclose(found.detach(), states.detach(), atol=1e-6)
    with pytest.raises(JPQError, match="--query-layers 3: the encoder has 2 layers"):
        some_layers(full, 3)


def test_a_table_has_the_vectors_of_single_tokens(full):
    table = token_table(full)
    words = [WORDS[3], WORDS[100]]
    alone = embed_queries(full, words)
    assert np.allclose(embed_queries(table, words), alone, atol=1e-5)
    assert np.allclose(embed_queries(table, [" ".join(words)]), alone.mean(0), atol=1e-5)
    assert np.allclose(embed_queries(full, words), alone)  # its tokenizer is as it was


@pytest.mark.parametrize("start", ["static", "layers"])
def test_what_is_linear_is_fitted(full, start):
    """To vectors that are a linear map of its own, which it then gives."""
    texts = [" ".join(WORDS[i : i + 3]) for i in range(150)]
    model = token_table(full) if start == "static" else with_dimension(some_layers(full, 1), 32, normalise=False)
    before = embed_queries(model if start == "static" else type(model)(modules=list(model)[:-1]), texts)
    mapped = before @ np.random.default_rng(0).normal(size=(32, 32)) + 0.5
    fit(model, texts, mapped)
    error = np.linalg.norm(embed_queries(model, texts) - mapped) / np.linalg.norm(mapped - mapped.mean(0))
    assert error < 0.1


@pytest.mark.parametrize(
    ("start", "layers", "kind"),
    [
        ("static", None, "static token embeddings"),
        pytest.param(None, 1, "bert with a linear layer, 1 layers", marks=pytest.mark.slow),
        pytest.param("other", 1, "bert with a linear layer, 1 layers", marks=pytest.mark.slow),
    ],
)
def test_a_student_comes_near_the_full_one_and_goes_with_the_index(tiny, queries, tmp_path, full, start, layers, kind):
    other = str(tiny_encoder(tmp_path / "other", dimension=16)) if start == "other" else start
    student = StudentConfig(query_layers=layers, distil_steps=60, distil_batch_size=16, distil_lr=3e-3)
    source = EncoderSource(str(tiny / "encoder"), query_encoder=other, student=student)
    index = trained(tiny, queries, tmp_path / "jpq", source)
    made = index.record.training["query_encoder"]
    assert made["steps"] == 60
    before, after = made["cosine"]
    assert after > 0.8
    assert before > 0.7  # of what is fitted before the first step
    folder = tmp_path / "jpq" / "query_encoder"
    assert kind in kind_of(folder)
    described = as_text(tmp_path / "jpq", index.record)
    assert f"           by {kind_of(folder)}\n" in described
    assert f"imitates {tiny / 'encoder'}: 60 steps, 108 queries, cosine {before} before, {after} after" in described
    vectors, wanted = JPQQueryEncoder(str(tmp_path / "jpq")).encode_batch(QUERIES), embed_queries(full, QUERIES)
    assert vectors.shape == wanted.shape
    assert not (tmp_path / "jpq.checkpoint").exists()


@pytest.mark.slow
def test_a_run_goes_on_with_the_student_that_it_had_made(tiny, queries, tmp_path, monkeypatch):
    source = EncoderSource(str(tiny / "encoder"), student=StudentConfig(1, distil_steps=5, distil_batch_size=16))
    from jpq_pyserini.train import pipeline, trainer

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trained(tiny, queries, tmp_path / "jpq", source)
    monkeypatch.setattr(pipeline, "imitate", None)  # is not called again
    train_index(
        tiny / "flat", source, tmp_path / "jpq", queries / "train.tsv", queries / "train.txt",
        config=TrainConfig(**{**FAST, "dropout": False, "epochs": 1, "encoder_lr": 1e-4}), progress=False, resume=True,
    )  # fmt: skip
    assert JPQIndex.open(tmp_path / "jpq").record.training["query_encoder"]["steps"] == 5


def test_queries_are_made_of_titles_and_first_sentences(tmp_path):
    documents = [
        {"id": "1", "contents": "A title\nIt is one sentence. And another one."},
        {"id": "2", "contents": "Only one line of text! No title."},
        {"id": "3", "title": "A title", "text": "Short.\nMore words here"},
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    made = list(queries_of(Corpus(tmp_path / "corpus.jsonl")))
    assert made == ["A title", "It is one sentence.", "Only one line of text!"]


def test_the_vectors_of_the_teacher_are_kept(tiny, full, tmp_path, monkeypatch):
    monkeypatch.setenv("JPQ_QUERY_CACHE", str(tmp_path))
    first = imitation._teacher_vectors(full, str(tiny / "encoder"), QUERIES)
    assert np.allclose(first, embed_queries(full, QUERIES), atol=1e-6)
    monkeypatch.setattr(imitation, "embed_queries", None)  # is not called again
    assert np.array_equal(imitation._teacher_vectors(full, str(tiny / "encoder"), QUERIES[::-1]), first[::-1])


def test_batches_are_of_similar_length_and_take_each_text_once_a_pass():
    lengths = np.random.default_rng(0).integers(5, 100, 400)
    batches = list(imitation._batches(lengths, 10, 70, np.random.default_rng(1)))
    assert [len(batch) for batch in batches] == [10] * 70
    assert sorted(np.concatenate(batches[:40])) == list(range(400))
    spread = [np.ptp(lengths[batch]) for batch in batches[:32]]  # the first 320 are sorted together
    assert max(spread) < 20
    assert sorted(spread) != spread  # and come in random order


def test_refusals(tiny, queries, tmp_path):
    with pytest.raises(JPQError, match="add --query-layers, or --query-encoder"):
        EncoderSource("x", student=StudentConfig(distil_steps=5))
    with pytest.raises(JPQError, match="static has no layers"):
        EncoderSource("x", query_encoder="static", student=StudentConfig(query_layers=2))
    source = EncoderSource(str(tiny / "encoder"), student=StudentConfig(1, distil_batch_size=500))
    with pytest.raises(JPQError, match=r"fewer than --distil-batch-size 500.*--distil-queries"):
        trained(tiny, queries, tmp_path / "jpq", source)
