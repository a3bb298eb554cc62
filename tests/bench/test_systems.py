"""Every system that is installed finds what inner product finds; the others are told, with what to install."""

import contextlib
from pathlib import Path

import faiss
import numpy as np
import pytest

from jpq_pyserini.bench import systems
from jpq_pyserini.bench.latency.entries import _sizes
from jpq_pyserini.bench.systems import KINDS, SYSTEMS, Data, SettingError, _base
from jpq_pyserini.bench.systems._euclidean import Euclidean
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.vectors import StoredVectors

from helpers.processes import run_python

N, D, K = 600, 32, 100
_BUILT = [name for name, each in SYSTEMS.items() if each.takes == "vectors"]
#: Share of the ten best documents that are among the hundred found, of 600; by chance it would be 0.17.
_RECALL = {"exhaustive": 1.0, "non-exhaustive": 0.9, "compressed": 0.4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Embeddings around 40 centres, norms from 0.5 to 1.5."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((40, D))[np.arange(N) % 40] + 0.5 * rng.standard_normal((N, D))
    vectors *= (rng.uniform(0.5, 1.5, N) / np.linalg.norm(vectors, axis=1))[:, None]
    path = tmp_path_factory.mktemp("systems") / "vectors.npy"
    np.save(path, vectors.astype(np.float32))
    return Data(N, D, 4, str(path))


@pytest.fixture(scope="module")
def queries(data):
    noise = np.random.default_rng(6).standard_normal((20, D)) / np.sqrt(D)
    return (data.embeddings()[:20] + 0.5 * noise).astype(np.float32)


def _searcher(name, data):
    """Build a system at its most thorough setting; skip the test when its library is not there or does not load."""
    system = SYSTEMS[name]
    if (missing := system.missing_requirement()) is not None:
        pytest.skip(f"{system.title}: {missing}")
    try:
        searcher = system.build(data)
    except ImportError as error:
        pytest.skip(f"{system.title}: installed, but {error}")
    searcher.threads(1)
    for value in system.setting[1] if system.setting else ():
        with contextlib.suppress(SettingError):  # more lists than there are: the last value that fits stays
            searcher.set(value)
    return searcher


@pytest.fixture(autouse=True)
def _one_thread():
    faiss.omp_set_num_threads(1)  # Faiss trains with as many as the last test searched with
    yield
    faiss.omp_set_num_threads(1)


@pytest.mark.parametrize("name", _BUILT)
def test_finds_what_inner_product_finds(name, data, queries):
    searcher = _searcher(name, data)
    exact = queries @ data.embeddings().T
    scores, rows = searcher.search(queries, K)
    assert scores.shape == rows.shape == (20, K)
    assert searcher.bytes > 0
    for b in range(20):
        found = rows[b][rows[b] >= 0].tolist()
        assert len(set(found)) == len(found) <= K
        assert max(found) < N
        assert (np.diff(scores[b][: len(found)]) <= 1e-4).all()
        if SYSTEMS[name].kind != "compressed":
            np.testing.assert_allclose(scores[b][: len(found)], exact[b][found], atol=1e-4)
    best = np.argsort(-exact, axis=1)[:, :10]
    recall = np.mean([np.isin(best[b], rows[b]).mean() for b in range(20)])
    if not name.startswith("matryoshka"):  # nothing was trained for it: see below
        assert recall >= _RECALL[SYSTEMS[name].kind]

    alone = searcher.search(queries[:1], K)[1]
    assert len(np.intersect1d(alone, rows[0])) >= 0.98 * K
    more = searcher.search(queries[:3], N + 7)[1]
    assert more.shape == (3, N + 7)
    assert (more[:, N:] == -1).all()
    searcher.threads(2)
    assert np.mean(searcher.search(queries, K)[1] == rows) > 0.98


@pytest.mark.parametrize("name", ["hnsw-opq", "opq"])
def test_compressed_sizes_are_bytes_and_tables(name, data):
    searcher = _searcher(name, data)
    tables = 4 * D * D + 4 * 256 * D  # rotation, centroids
    assert tables + 4 * N < searcher.bytes < tables + (4 + 100) * N + 10_000


def test_the_systems_of_the_paper_are_here():
    titles = {each.title.partition(",")[0] for each in SYSTEMS.values()}
    assert titles >= {"Annoy", "FALCONN", "FLANN", "IMI", "HNSW", "PQ", "LSH", "ITQ+LSH", "ScaNN", "HNSW+OPQ", "OPQ"}
    assert titles >= {"OPQ+ScaNN", "BM25", "flat"}
    kinds = [KINDS.index(each.kind) for each in SYSTEMS.values()]
    assert kinds == sorted(kinds)
    files = {path.stem for path in Path(_base.__file__).parent.glob("[a-z]*.py")}
    assert files == {each.__name__.rpartition(".")[2] for each in systems._FILES}
    assert SYSTEMS["imi"].label(Data(8_841_823, 768, 96)) == "IMI, 2x12 bits"
    assert SYSTEMS["imi"].label(Data(20_958, 384, 48)) == "IMI, 2x9 bits"


def test_what_is_not_installed_says_how(monkeypatch):
    monkeypatch.setattr(_base.importlib.util, "find_spec", lambda name: None)
    assert SYSTEMS["flann"].missing_requirement() == "not installed (pip install pyflann-py3)"
    assert "pybind11" in SYSTEMS["falconn"].missing_requirement()


@pytest.mark.slow
def test_a_library_that_does_not_load_is_left_out(tmp_path):
    (tmp_path / "falconn.py").write_text("raise ImportError('libfalconn.so.1: cannot open shared object file')\n")
    done = run_python(
        "-m", "jpq_pyserini.bench.latency", "--documents", "300", "--dimension", "16", "--bytes", "4", "--rounds", "1",
        "--queries", "2", "--queries-a-round", "1", "--batch", "1", "--threads", "1", "--hits", "5",
        "--systems", "falconn", "flat", "bm25", "--output", tmp_path / "out", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert (
        "- left out: FALCONN, size without its tables: falconn: ImportError: libfalconn.so.1: cannot open shared object"
        in done.stdout
    )
    assert "needs texts: name the Lucene index of the collection with --lucene" in done.stdout
    assert "| flat, float32 |" in done.stdout


def test_bytes_that_do_not_fit_are_told(data):
    with pytest.raises(JPQError, match="5 bytes do not divide dimension 32"):
        SYSTEMS["pq"].build(Data(N, D, 5, data.vectors))
    with pytest.raises(JPQError, match="64 bits, more than dimension 32"):
        SYSTEMS["itq-lsh"].build(Data(N, D, 8, data.vectors))


@pytest.mark.parametrize(("spread", "width"), [(0.0, D), (1.0, D + 1)])
def test_distances_become_inner_products(spread, width):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, D)).astype(np.float32)
    vectors *= (1 + spread * rng.random(50) / 2)[:, None].astype(np.float32) / np.linalg.norm(
        vectors, axis=1, keepdims=True
    )
    asked = rng.standard_normal((4, D)).astype(np.float32)
    space = Euclidean(vectors)
    assert space.vectors.shape == (50, width)
    assert Euclidean(vectors, multiple_of=20).vectors.shape == (50, 40)
    wide = space.queries(asked)
    distances = ((wide[:, None] - space.vectors[None]) ** 2).sum(-1)
    np.testing.assert_allclose(space.scores(wide, distances), asked @ vectors.T, atol=1e-5)
    assert (np.argsort(distances) == np.argsort(-asked @ vectors.T)).all()


@pytest.mark.parametrize("name", ["binary", "binary-median"])
def test_binary_codes_are_signs_and_queries_floats(name, data, queries):
    vectors = np.array(data.embeddings())
    thresholds = np.median(vectors, axis=0) if name == "binary-median" else np.zeros(D)
    scores = queries @ np.where(vectors > thresholds, 1, -1).T
    searcher = _searcher(name, data)
    found, rows = searcher.search(queries, K)
    shift = (queries @ thresholds)[:, None]
    np.testing.assert_allclose(found, shift + np.take_along_axis(scores, rows, 1), atol=1e-4)
    np.testing.assert_allclose(found, shift - np.sort(-scores, axis=1)[:, :K], atol=1e-4)
    assert searcher.bytes == N * D / 8 + 4 * D


@pytest.mark.parametrize(
    ("unit", "name", "kept"), [(True, "matryoshka", 2), (False, "matryoshka", 2), (True, "matryoshka-sq8", 8)]
)
def test_matryoshka_is_a_search_with_the_first_dimensions(unit, name, kept, data, queries, tmp_path):
    vectors = np.array(data.embeddings())
    if unit:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "vectors.npy", vectors)
    cut = vectors[:, :kept] / (np.linalg.norm(vectors[:, :kept], axis=1, keepdims=True) if unit else 1)
    searcher = _searcher(name, Data(N, D, 8, str(tmp_path / "vectors.npy")))
    scores, rows = searcher.search(queries, K)
    exact = queries[:, :kept] @ cut.T
    np.testing.assert_allclose(scores, np.take_along_axis(exact, rows, 1), atol=1e-5 if kept == 2 else 0.03)
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :K], atol=1e-5 if kept == 2 else 0.03)
    assert N * 8 <= searcher.bytes <= N * 8 + 200


@pytest.mark.parametrize(
    ("name", "bits", "factors"),
    [("sq8", 8, 0), ("sq4", 4, 0), ("turboquant2", 2, 0), ("eden1", 1, 8), ("eden4", 4, 8), ("rabitq", 1, 8)],
)
def test_sizes_of_scalar_codes(name, bits, factors, data):
    rotation = 0 if name.startswith("sq") else 4 * D * D
    codes = N * (D * bits // 8 + factors)
    assert codes + rotation <= _searcher(name, data).bytes <= codes + rotation + 3000


def test_refined_codes_have_the_scores_of_int8(data, queries):
    searcher = _searcher("pq-refined", data)
    scores, rows = searcher.search(queries, 10)
    exact = queries @ data.embeddings().T
    np.testing.assert_allclose(scores, np.take_along_axis(exact, rows, 1), atol=0.03)
    assert searcher.bytes > N * (4 + D)
    few, many = (np.mean(_at(searcher, factor, queries) == np.argsort(-exact, axis=1)[:, :10]) for factor in (1, 8))
    assert few < many


def _at(searcher, factor, queries):
    searcher.set(factor)
    return searcher.search(queries, 10)[1]


def _stored(data):
    return StoredVectors(data.vectors, "float32", N, D, data.embeddings().offset)


def test_the_second_stage_scores_with_the_vectors(data, queries):
    first = _searcher("pq", data)
    proposed = first.search(queries, 50)[1]
    scores, rows = first.rescored(_stored(data), 50).search(queries, 10)
    exact = queries @ data.embeddings().T
    for b in range(20):
        best = sorted(proposed[b], key=lambda row: -exact[b, row])[:10]
        assert rows[b].tolist() == best
        np.testing.assert_allclose(scores[b], exact[b, best], atol=1e-5)
    more = first.rescored(_stored(data), 5).search(queries, N + 3)[1]
    assert (more[:, :N] >= 0).all()
    assert (more[:, N:] == -1).all()


def test_what_needs_training_says_so():
    free = {name for name, each in SYSTEMS.items() if each.trained_on == 0 and each.kind == "compressed"}
    assert free == {"lsh", "binary", "turboquant1", "turboquant2", "turboquant4", "matryoshka"}


def test_systems_that_come_in_any_size_take_part_in_each():
    data = Data(1000, 64, 8)
    pq = list(_sizes(SYSTEMS["pq"], data, [8, 16]))
    assert [(name, title, sized.bytes) for name, title, sized in pq] == [
        ("pq-8", "PQ, 8x8", 8),
        ("pq-16", "PQ, 16x8", 16),
    ]
    assert [each[0] for each in _sizes(SYSTEMS["pq"], data, [16])] == ["pq"]
    assert [each[0] for each in _sizes(SYSTEMS["binary"], data, [8, 16])] == ["binary"]  # a bit for each dimension
    titles = [title for _, title, _ in _sizes(SYSTEMS["fastscan"], data, [8, 16])]
    assert titles == ["JPQ fastscan, 4 bits, 8 bytes", "JPQ fastscan, 4 bits, 16 bytes"]
