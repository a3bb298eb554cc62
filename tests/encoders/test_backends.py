"""Query encoders run by ONNX Runtime and OpenVINO: the vectors of torch, or near them; settings and refusals."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQQueryEncoder, TrainConfig, train_index
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import load_text_encoder
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.record import IndexRecord, write_record

QUERIES = ["bace dife gu", "kale", "mino pura seti vo bace bace bace bace bace bace bace"]


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A copy of the tiny index whose encoder has both ONNX files and asks for the float one."""
    pytest.importorskip("onnx")
    index = tmp_path_factory.mktemp("onnx") / "index"
    shutil.copytree(tiny / "index", index)
    model = load_text_encoder(str(index / "query_encoder"))
    for backend in ("onnx-int8", "onnx"):
        backends.export(model, index / "query_encoder", backend)
    write_record(index, IndexRecord.read(index))
    return index


def test_onnx_gives_the_vectors_of_torch(tiny, exported):
    torch_vectors = JPQQueryEncoder(str(tiny / "index")).encode_batch(QUERIES)
    encoder = JPQQueryEncoder(str(exported))
    assert type(encoder.model[0].model).__name__ == "_ExportedModel"
    assert encoder.dimension == 32
    assert np.allclose(encoder.encode_batch(QUERIES), torch_vectors, atol=1e-5)
    assert np.allclose(encoder.encode(QUERIES[1]), torch_vectors[1], atol=1e-5)
    int8 = JPQQueryEncoder(str(exported), backend="onnx-int8").encode_batch(QUERIES)
    cosines = (int8 * torch_vectors).sum(1) / np.linalg.norm(int8, axis=1) / np.linalg.norm(torch_vectors, axis=1)
    assert cosines.min() > 0.98
    assert not np.allclose(int8, torch_vectors, atol=1e-5)
    assert np.array_equal(JPQQueryEncoder(str(exported), backend="torch").encode_batch(QUERIES), torch_vectors)


@pytest.mark.slow
def test_openvino_reads_the_same_file(tiny, exported):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    torch_vectors = JPQQueryEncoder(str(tiny / "index")).encode_batch(QUERIES)
    encoder = JPQQueryEncoder(str(exported), backend="openvino")
    vectors = encoder.encode_batch(QUERIES)
    cosines = (vectors * torch_vectors).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(torch_vectors, axis=1)
    assert cosines.min() > 0.999  # bfloat16 on some processors
    kept = vectors.copy()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.encode, [QUERIES[1]] * 16))
    assert np.array_equal(vectors, kept)  # results are not overwritten by the next ones
    assert all(np.array_equal(each, found[0]) for each in found)
    assert np.allclose(found[0], vectors[1], atol=0.02 * np.abs(vectors[1]).max())


def test_openvino_that_is_not_installed(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(JPQError, match=r"openvino is not installed: pip install openvino, or use .* onnx"):
        JPQQueryEncoder(str(exported), backend="openvino")


def test_searcher_setting(exported):
    searcher = JPQFaissSearcher(exported, encoder_backend="onnx-int8")
    assert searcher.query_encoder.backend == "onnx-int8"
    assert len(searcher.search("bace dife", 5)) == 5
    with pytest.raises(JPQError, match="leave query_encoder out"):
        JPQFaissSearcher(exported, JPQQueryEncoder(str(exported)), encoder_backend="onnx")


def test_refusals(tiny, tmp_path):
    with pytest.raises(JPQError, match="'tensorrt' is unknown: choose one of torch, onnx, onnx-int8, openvino"):
        JPQQueryEncoder(str(tiny / "index"), backend="tensorrt")
    with pytest.raises(JPQError, match=r"onnx/model.onnx is missing.*--encoder-backend onnx"):
        JPQQueryEncoder(str(tiny / "index"), backend="onnx")
    folder = tmp_path / "encoder"
    shutil.copytree(tiny / "index" / "query_encoder", folder)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"garbage")
    for backend in ("onnx", "openvino"):
        if backend == "openvino" and find_spec("openvino") is None:
            continue
        with pytest.raises(JPQError, match=r"model.onnx cannot be loaded .*: export it again"):
            JPQQueryEncoder(str(folder), backend=backend)
    with pytest.raises(JPQError, match="runs on the CPU, not on meta"):
        backends.apply(None, folder, "onnx", "meta")
    assert backends.saved_backend(folder) == "torch"
    marker = folder / "jpq_encoder.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"backend": "onnx"}))
    assert backends.saved_backend(folder) == "onnx"
    with pytest.raises(JPQError, match="half precision"):
        JPQQueryEncoder(str(folder), fp16=True, backend="onnx")


@pytest.mark.slow
def test_an_export_is_the_default_where_it_gives_the_same_vectors(tiny, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    main(["convert", "--index", str(tiny / "index"), "--output", str(tmp_path / "index")])
    folder = tmp_path / "index" / "query_encoder"
    settings = json.loads((folder / "jpq_encoder.json").read_text())
    assert settings["onnx_difference"] < 1e-5
    assert backends.saved_backend(folder) == "onnx"
    encoder, plain = JPQQueryEncoder(str(folder)), JPQQueryEncoder(str(tiny / "index"))
    assert type(encoder.model[0].model).__name__ == "_ExportedModel"
    assert np.allclose(encoder.encode_batch(QUERIES), plain.encode_batch(QUERIES), atol=1e-5)
    (folder / "onnx" / "model.onnx").write_bytes(b"garbage")
    assert np.array_equal(JPQQueryEncoder(str(folder)).encode(QUERIES[0]), plain.encode(QUERIES[0]))
    assert "model.onnx cannot be loaded" in capsys.readouterr().err
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert backends.saved_backend(folder) == "torch"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exporter", "vectors"])
def test_an_encoder_that_cannot_be_exported_stays_with_torch(tiny, tmp_path, monkeypatch, fault):
    pytest.importorskip("onnx")
    folder = tmp_path / "query_encoder"
    shutil.copytree(tiny / "index" / "query_encoder", folder)
    model = load_text_encoder(str(folder))
    before = model.encode(QUERIES)

    def shifted(output):
        output.last_hidden_state += 0.01
        return output

    if fault == "exporter":
        monkeypatch.setattr(backends.torch.onnx, "export", lambda *_, **__: 1 / 0)
    else:
        session = backends._onnxruntime
        monkeypatch.setattr(
            backends, "_onnxruntime", lambda path: (session(path)[0], lambda x: session(path)[1](x) * 1.01)
        )
    why = backends.export_checked(model, folder)
    assert {"exporter": "division by zero", "vectors": "the exported vectors differ by 0.0"}[fault] in why
    assert not (folder / "onnx").exists()
    assert backends.saved_backend(folder) == "torch"
    assert np.array_equal(model.encode(QUERIES), before)


def test_training_exports(tiny, tmp_path):
    pytest.importorskip("onnx")
    settings = {"m": 8, "nbits": 4, "opq_iterations": 1, "epochs": 0}
    train_index(tiny / "flat", str(tiny / "encoder"), tmp_path / "jpq", config=TrainConfig(**settings), progress=False)
    assert backends.saved_backend(tmp_path / "jpq" / "query_encoder") == "onnx"


@pytest.mark.slow
@pytest.mark.parametrize(("onnx_seconds", "chosen"), [(0.5, "onnx"), (0.95, "torch"), (2.0, "torch")])
def test_passages_are_encoded_by_what_is_measured_to_be_faster(tiny, monkeypatch, onnx_seconds, chosen):
    pytest.importorskip("onnx")
    model, plain = (load_text_encoder(str(tiny / "encoder")) for _ in range(2))

    def timed(embed, model, batch):
        seconds = onnx_seconds if type(model[0].model).__name__ == "_ExportedModel" else 1.0
        return embed(model, batch), seconds

    monkeypatch.setattr(backends, "timed", timed)
    assert backends.fastest(model, [QUERIES[:1], QUERIES]) == chosen
    assert (type(model[0].model).__name__ == "_ExportedModel") == (chosen == "onnx")
    assert np.allclose(model.encode(QUERIES), plain.encode(QUERIES), atol=1e-5)
