"""Query encoders run by ONNX Runtime and OpenVINO: the vectors of torch, or near them; settings and refusals."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQFaissSearcher, JPQQueryEncoder
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import load_text_encoder
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
