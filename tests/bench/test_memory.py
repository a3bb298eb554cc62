"""The memory benchmark's own tools, and what keeps training's memory bounded."""

import sys

import faiss
import numpy as np
import pytest

from jpq_pyserini.codec import codes as codecs
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError


def test_the_synthetic_folder_is_a_flat_faiss_index(tmp_path):
    from jpq_pyserini.bench.memory import write_folder

    size = write_folder(tmp_path / "flat", 70_000, 8, seed=1)
    index = faiss.read_index(str(tmp_path / "flat" / "index"))
    flat = FlatFolder.open(tmp_path / "flat")
    assert type(index) is faiss.IndexFlatIP
    assert np.array_equal(index.reconstruct_n(0, 70_000), flat.embeddings)
    assert size == sum(path.stat().st_size for path in (tmp_path / "flat").iterdir())
    assert flat.docids[69_999] == "document-000069999"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_watched_process_is_measured_and_limited():
    from jpq_pyserini.bench.memory import watch

    code = "import sys, time; x = bytearray(int(sys.argv[1])); time.sleep(0.5)"
    found = watch([sys.executable, "-c", code, "60000000"], 500_000_000)
    assert 60e6 <= found.peak_anonymous < 150e6
    assert found.peak_resident >= found.peak_anonymous
    assert found.seconds >= 0.5
    with pytest.raises(JPQError, match=r"limit of 500 MB ended with 1: MemoryError"):
        watch([sys.executable, "-c", code, "600000000"], 500_000_000)


def test_assigning_in_parts_changes_no_code(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 64)).astype(np.float32)
    centroids = rng.standard_normal((4, 16, 16)).astype(np.float32)  # D/M = 16: where Faiss makes a table
    whole = codecs.assign(x, centroids)
    monkeypatch.setattr(codecs, "_DISTANCES", 4 * 16 * 7)
    assert np.array_equal(codecs.assign(x, centroids), whole)
    distances = ((x.reshape(500, 4, 1, 16) - centroids) ** 2).sum(-1)
    assert np.array_equal(whole, distances.argmin(-1))
