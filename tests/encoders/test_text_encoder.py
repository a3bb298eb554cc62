"""Saved encoders are of a format that this release knows; what is silenced while a model loads is heard again after."""

import json
import logging
import shutil
import threading

import pytest
from transformers.utils import logging as bars

from jpq_pyserini import JPQError
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import load_text_encoder, quietly, saved_settings


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"format_version": 2}', r"format version 2, this release reads up to 1: pip install --upgrade"),
        ('{"format_version": "x"}', "is damaged"),
        ("[]", "is damaged"),
        ("{", "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_formats(tiny, tmp_path, text, reason):
    folder = shutil.copytree(tiny / "index" / "query_encoder", tmp_path / "encoder")
    assert saved_settings(folder)["format_version"] == 1
    (folder / "jpq_encoder.json").write_text(text)
    for use in (load_text_encoder, saved_settings, backends.saved_backend):
        with pytest.raises(JPQError, match=reason) as caught:
            use(str(folder))
        assert str(folder / "jpq_encoder.json") in str(caught.value)


def test_folders_of_other_origin(tiny):
    assert saved_settings(tiny / "encoder") == {}
    assert saved_settings("a-name/on-the-hub") == {}


def test_silence_ends_with_the_last_of_several_threads():
    hub = logging.getLogger("huggingface_hub")
    before = hub.level, bars.is_progress_bar_enabled()
    first_is_in, second_is_in = threading.Event(), threading.Event()
    heard = []

    def first():
        with quietly():
            first_is_in.set()
            second_is_in.wait(10)
        heard.append(hub.level)  # the other thread is still loading

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with quietly():
        second_is_in.set()
        thread.join()
        assert not bars.is_progress_bar_enabled()
    assert heard == [logging.CRITICAL]
    assert (hub.level, bars.is_progress_bar_enabled()) == before


def test_export_leaves_logging_alone(tiny, tmp_path, caplog):
    pytest.importorskip("onnx")
    folder = shutil.copytree(tiny / "index" / "query_encoder", tmp_path / "encoder")
    logging.disable(logging.INFO)
    try:
        backends.export(load_text_encoder(str(folder)), folder, "onnx-int8")
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records if "pre-processing" in record.getMessage()] == []
    assert json.loads((folder / "jpq_encoder.json").read_text())["backend"] == "onnx-int8"
