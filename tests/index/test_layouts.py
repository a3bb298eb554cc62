"""Layouts: the same scores and codes in every one, conversion on the command line, mapped files, refusals."""

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.index import IndexDirectory, layouts
from jpq_pyserini.index.exact import ExactIndex
from jpq_pyserini.index.record import IndexRecord

from helpers.codes import make_index, random_codec, random_embeddings
from helpers.processes import call_module

N = 700  # the last block of 32 and most lists are not full


@pytest.fixture(scope="module", params=[(4, 6), (4, 3), (8, 6)], ids=lambda p: f"{p[0]}bit-M{p[1]}")
def collection(request):
    nbits, M = request.param
    codec = random_codec(M=M, nbits=nbits)
    return codec, codec.encode(random_embeddings(N))


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_every_layout_has_the_scores_and_the_codes(collection, layout, tmp_path):
    codec, codes = collection
    if codec.nbits == 8 and "fastscan" in layout:
        with pytest.raises(JPQError, match=r"4-bit.*--nbits 4 and twice the --m"):
            layouts.build(codec, codes, layout)
        return
    coarse = layouts.train_coarse(codec, codes, nlist=9, nprobe=9)
    built = layouts.build(codec, codes, layout, coarse)
    faiss.write_index(built, str(tmp_path / "index"))
    del built
    index = layouts.read(tmp_path / "index")
    queries = random_embeddings(4, seed=3)
    scores, rows = index.search(queries, 50)
    expected = codec.scores(queries, codes)
    # a fast-scan table entry is off by at most half a step of an 8-bit scale that fits the widest sub-vector
    tables = codec.lookup_tables(queries)
    step = np.ptp(tables, axis=2).max() / 255 if "fastscan" in layout else 0
    assert np.abs(scores - np.take_along_axis(expected, rows, 1)).max() <= codec.m * step / 2 + 1e-4
    assert layouts.layout_of(index) == layout
    assert np.array_equal(layouts.codes_of(index), codes)
    some = np.random.default_rng(0).permutation(N)[:99]
    assert np.array_equal(layouts.packed_codes(index)[some], codes[some])
    if layout in ("pq", "ivf"):
        mapped = layouts.read(tmp_path / "index", mapped=layout)
        assert np.array_equal(layouts.packed_codes(mapped)[some], codes[some])
        assert np.array_equal(mapped.search(queries, 50)[1], rows)
    else:
        with pytest.raises(JPQError, match="cannot memory-map"):
            layouts.read(tmp_path / "index", mapped=layout)


def test_lists_hold_the_nearest_documents_and_nprobe_stays_in_the_file(collection, tmp_path):
    codec, codes = collection
    coarse = layouts.train_coarse(codec, codes, nlist=9, nprobe=2)
    index = layouts.build(codec, codes, "ivf", coarse)
    faiss.write_index(index, str(tmp_path / "index"))
    inside = layouts.coarse_of(layouts.read(tmp_path / "index"))
    assert inside.nprobe == 2
    assert np.array_equal(inside.centroids, coarse.centroids)
    decoded = codec.rotate(codec.decode(codes))
    nearest = ((decoded[:, None] - coarse.centroids) ** 2).sum(-1).argmin(1)  # (N,)
    query = random_embeddings(1, seed=3)
    visited = np.argsort(-(codec.rotate(query) @ coarse.centroids.T)[0])[:2]
    _, rows = index.search(query, N)
    assert set(rows[0][rows[0] >= 0].tolist()) == set(np.flatnonzero(np.isin(nearest, visited)).tolist())


def test_coarse_centroids_from_embeddings_and_bad_numbers(collection):
    codec, codes = collection
    embeddings = random_embeddings(N)
    coarse = layouts.train_coarse(codec, codes, nlist=4, embeddings=embeddings)
    assert coarse.note["coarse"] == "embeddings"
    rotated = embeddings @ codec.rotation.T
    nearest = ((rotated[:, None] - coarse.centroids) ** 2).sum(-1).argmin(1)
    for number, centroid in enumerate(coarse.centroids):  # k-means has converged, nearly
        assert np.allclose(rotated[nearest == number].mean(0), centroid, atol=0.35)
    for bad, message in (({"nlist": 701}, "nlist 701 for 700"), ({"nlist": 4, "nprobe": 5}, "nprobe 5 with 4 lists")):
        with pytest.raises(JPQError, match=message):
            layouts.train_coarse(codec, codes, **bad)


def test_convert_on_the_command_line(tmp_path):
    index = make_index(N, nbits=4)
    index.save(tmp_path / "pq", lambda folder: (folder.mkdir(), (folder / "f").write_text("x")))

    def command(*arguments, check=True):
        return call_module("jpq_pyserini.index", *arguments, check=check)

    source = "pq"
    for layout, options in (
        ("ivf", ("--nlist", "8", "--nprobe", "3")),
        ("ivf-fastscan", ("--nprobe", "4")),
        ("fastscan", ()),
        ("pq", ()),
    ):
        new = tmp_path / f"{layout}-from-{source}"
        command("convert", "--index", tmp_path / source, "--layout", layout, "--output", new, *options)
        opened = JPQIndex.open(new)
        assert opened.record.layout == layout
        assert np.array_equal(opened.codes, index.codes)
        assert opened.docids == index.docids
        assert (new / "query_encoder" / "f").read_text() == "x"
        if layout.startswith("ivf"):
            assert opened.record.lists == {
                "coarse": "decoded documents", "seed": 42, "nlist": 8, "nprobe": opened.coarse.nprobe
            }  # fmt: skip
        source = new.name
    assert JPQIndex.open(tmp_path / "ivf-fastscan-from-ivf-from-pq").coarse.nprobe == 4
    described = command("describe", "--index", tmp_path / "ivf-from-pq", "--verify").stdout
    assert "layout     ivf" in described
    assert "nlist 8, nprobe 3" in described
    assert json.loads(command("describe", "--index", tmp_path / "pq", "--json").stdout)["layout"] == "pq"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layout", "fastscan"), "needs 4-bit codes and these have 8 bits"),
        (("--layout", "pq", "--nprobe", "3"), "has no inverted lists"),
        (("--layout", "ivf", "--nlist", "101"), "nlist 101 for 100 documents"),
    ],
)
def test_convert_says_why_not(tmp_path, options, message):
    make_index().save(tmp_path / "pq")
    done = call_module(
        "jpq_pyserini.index", "convert", "--index", tmp_path / "pq", "--output", tmp_path / "new", *options,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_verify_and_mixed_directories(tmp_path, monkeypatch):
    make_index(nbits=4).save(tmp_path / "pq")
    JPQIndex.open(tmp_path / "pq").convert("fastscan").save(tmp_path / "fast")
    (tmp_path / "pq" / "docid").write_text("".join(f"x{i}\n" for i in range(100)))
    done = call_module("jpq_pyserini.index", "describe", "--index", tmp_path / "pq", "--verify", check=False)
    assert "docid is missing or not the file that was written" in done.stderr
    (tmp_path / "pq" / "index").write_bytes((tmp_path / "fast" / "index").read_bytes())
    monkeypatch.setenv("JPQ_VERIFY", "0")
    with pytest.raises(JPQError, match=r"index has the layout fastscan, jpq.json says pq"):
        JPQIndex.open(tmp_path / "pq")
    assert IndexRecord.read(tmp_path / "fast").lists == {}


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_first_reads_from_threads_and_copies(tmp_path, layout):
    made = make_index(N=400, nbits=4)
    options = {"nlist": 20, "nprobe": 4} if layout.startswith("ivf") else {}
    made.convert(layout, **options).save(tmp_path / "ix")
    parts = IndexDirectory.open(tmp_path / "ix")
    queries = random_embeddings(3, seed=3)
    expected = ExactIndex(parts.faiss_index, parts.docids).search(queries, 10)
    for _ in range(20):
        exact, barrier = ExactIndex(parts.faiss_index, parts.docids), threading.Barrier(4)

        def search(exact=exact, barrier=barrier):
            barrier.wait()
            return exact.search(queries, 10)

        with ThreadPoolExecutor(4) as pool:
            found = [each.result() for each in [pool.submit(search) for _ in range(4)]]
        assert all(np.array_equal(scores, expected[0]) and np.array_equal(rows, expected[1]) for scores, rows in found)
    again = pickle.loads(pickle.dumps(exact))
    assert again.docids == parts.docids
    assert np.array_equal(again.search(queries, 10)[1], expected[1])
