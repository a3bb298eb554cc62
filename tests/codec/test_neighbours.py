"""Codes that weigh errors towards neighbours: against brute force, and through training, files and other documents."""

import dataclasses
import itertools

import faiss
import numpy as np
import pytest

from jpq_pyserini import JPQIndex, TrainConfig
from jpq_pyserini.codec import ProductQuantizer, ScoreAware, assign, score_aware
from jpq_pyserini.codec.neighbours import WEIGHT, Neighbourhood, neighbourhood_of
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import __main__ as index
from jpq_pyserini.index.coding import code_flat, codec_digest
from jpq_pyserini.index.shards import check_shards
from jpq_pyserini.train import __main__ as train

from helpers.tiny import tiny_corpus, tiny_encoder, tiny_flat


@pytest.fixture(scope="module")
def documents() -> np.ndarray:
    """(400, 8) float32 in 40 groups of ten that are much alike."""
    rng = np.random.default_rng(0)
    groups = rng.standard_normal((40, 1, 8))
    return (groups + 0.4 * rng.standard_normal((40, 10, 8))).reshape(400, 8).astype(np.float32)


@pytest.fixture(scope="module")
def centroids(documents) -> np.ndarray:
    """(2, 16, 4)."""
    return np.ascontiguousarray(documents[::25].reshape(16, 2, 4).transpose(1, 0, 2))


def nearest_others(documents, row, count) -> list[int]:
    units = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    return [other for other in np.argsort(-(units @ units[row])) if other != row][:count]


def test_directions_are_those_towards_the_nearest_others(documents):
    across = Neighbourhood(documents, 3).across(documents)
    units = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    for row in range(0, 400, 37):
        expected = units[nearest_others(documents, row, 3)]
        expected = expected - (expected @ units[row])[:, None] * units[row]
        assert np.abs(across[row]).sum(1).astype(bool).sum() == 3
        assert across[row].T @ across[row] == pytest.approx(WEIGHT / 3 * expected.T @ expected, abs=1e-4)


def test_a_document_that_is_not_in_the_reference_has_as_many_neighbours(documents):
    across = Neighbourhood(documents[:200], 3).across(documents[200:])
    assert (np.abs(across).sum(2) > 0).sum(1).tolist() == [3] * 200


def test_a_reference_of_one_document(documents):
    across = Neighbourhood(documents[:1], 8).across(documents[:2])
    assert not across[0].any()
    assert across[1].any()


def test_among_many_documents_nearly_all_neighbours_are_found(monkeypatch):
    """In lists: of an array and of an index's codes, and for documents that are not among them."""
    rng = np.random.default_rng(1)
    groups = rng.standard_normal((300, 1, 32))
    many = (groups + 0.3 * rng.standard_normal((300, 10, 32))).reshape(3000, 32).astype(np.float32)
    exact = Neighbourhood(many, 5).across(many[::10])
    monkeypatch.setattr("jpq_pyserini.codec.neighbours.EXACT", 1000)
    found = Neighbourhood(many, 5).across(many[::10])
    shared = [
        np.mean([(np.abs(row - theirs).max(1) < 1e-4).any() for row in mine if row.any()])
        for mine, theirs in zip(found, exact, strict=True)
    ]
    assert np.mean(shared) > 0.9
    assert not found[:, 0].any()  # a document is found to be itself
    assert found[:, 5].any(1).all()
    outside = Neighbourhood(many[:2000], 5).across(many[2000::10])
    assert (np.abs(outside).sum(2) > 0).sum(1).tolist() == [5] * 100
    codec = ProductQuantizer(*[np.ascontiguousarray(many[:256].reshape(256, 8, 4).transpose(1, 0, 2))] * 2)
    codec = dataclasses.replace(codec, assignment=ScoreAware(4.0, neighbours=5))
    codes = assign(many, codec.centroids)
    of_codes = neighbourhood_of(codec, codes).across(many[::10])
    assert of_codes == pytest.approx(Neighbourhood(codec.decode(codes), 5).across(many[::10]), abs=1e-5)


def costs_by_definition(document, others, centroids, weight, shrinkage) -> dict[tuple[int, int], float]:
    """Every code of M=2 and its cost, written down as in the formulas of both modules."""
    unit = document / np.linalg.norm(document)
    others = others / np.linalg.norm(others, axis=1, keepdims=True)
    others = others - (others @ unit)[:, None] * unit
    costs = {}
    for code in itertools.product(range(centroids.shape[1]), repeat=2):
        residual = document - np.concatenate([centroids[0, code[0]], centroids[1, code[1]]])
        along = unit @ residual - shrinkage * np.linalg.norm(document)
        costs[code] = residual @ residual + weight * along**2 + WEIGHT * np.square(others @ residual).mean()
    return costs


def test_no_change_of_one_code_makes_a_document_cheaper(documents, centroids):
    codec = ProductQuantizer(centroids, centroids, None, ScoreAware(4.0, 0.1, 3))
    codes = codec.encode(documents).tolist()
    plain = assign(documents, centroids).tolist()
    saved = 0.0
    for row in range(0, 400, 9):
        others = documents[nearest_others(documents, row, 3)]
        costs = costs_by_definition(documents[row], others, centroids, 4.0, 0.1)
        mine = tuple(codes[row])
        changed = [(other, mine[1]) for other in range(16)] + [(mine[0], other) for other in range(16)]
        assert costs[mine] <= min(costs[code] for code in changed) * (1 + 1e-4)
        saved += costs[tuple(plain[row])] - costs[mine]
    assert saved > 0


def test_each_move_of_the_centroids_makes_documents_cheaper(documents, centroids):
    across = Neighbourhood(documents, 3).across(documents)
    others = [documents[nearest_others(documents, row, 3)] for row in range(0, 400, 20)]
    nearest = assign(documents, centroids)

    def mean_cost(codes, moved):
        rows = range(0, 400, 20)
        each = (
            costs_by_definition(documents[row], other, moved, 4.0, 0.1) for row, other in zip(rows, others, strict=True)
        )
        return np.mean([costs[tuple(codes[row])] for row, costs in zip(rows, each, strict=True)])

    costs = [mean_cost(nearest, centroids)]
    for rounds in (1, 4):
        codes, moved = score_aware.improve_centroids(documents, nearest, centroids, 4.0, rounds, 0.1, across)
        costs.append(mean_cost(codes.tolist(), moved))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.9 * costs[0]


def test_shrinkage_is_measured_along_the_documents(documents, centroids):
    codes = assign(documents, centroids)
    rebuilt = centroids[np.arange(2), codes].reshape(documents.shape)
    norms = np.linalg.norm(documents, axis=1)
    expected = (((documents - rebuilt) * documents).sum(1) / norms**2).mean()
    assert score_aware.mean_shrinkage(documents, codes, centroids) == pytest.approx(expected, rel=1e-4)


def test_the_codec_is_kept_whole(documents, centroids, tmp_path):
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((8, 8)))[0].astype(np.float32)
    codec = ProductQuantizer(centroids, centroids, rotation, ScoreAware(10.0, 0.125, 4))
    codec.save(tmp_path / "codec.safetensors")
    again = ProductQuantizer.load(tmp_path / "codec.safetensors")
    assert again.assignment == ScoreAware(10.0, 0.125, 4)
    assert np.array_equal(again.encode(documents), codec.encode(documents))


def test_a_negative_number_of_neighbours_is_refused():
    with pytest.raises(JPQError, match="neighbours -1"):
        ScoreAware(10.0, neighbours=-1)


def test_errors_towards_neighbours_become_smaller(documents, centroids):
    across, errors = Neighbourhood(documents, 5).across(documents), {}
    for neighbours in (0, 5):
        codec = ProductQuantizer(centroids, centroids, None, ScoreAware(4.0, 0.1, neighbours))
        residuals = documents - codec.decode(codec.encode(documents))
        errors[neighbours] = float(np.square(across @ residuals[:, :, None]).mean())
    assert errors[5] < 0.8 * errors[0]


@pytest.mark.slow
def test_training_and_documents_coded_later(tmp_path, monkeypatch, capsys):
    """From the command line: an untrained index with neighbours; another collection coded like it, and added to it."""

    def run(command, *arguments):
        monkeypatch.setattr("sys.argv", [command.__name__, *map(str, arguments)])
        command.main()

    texts, _ = tiny_corpus(400)
    encoder = tiny_encoder(tmp_path / "encoder")
    flat, more = tiny_flat(tmp_path / "flat", encoder, texts), tiny_flat(tmp_path / "more", encoder, texts[:40])
    (more / "docid").write_text("".join(f"more{row}\n" for row in range(40)), encoding="utf-8")
    start = ["--embeddings", flat, "--encoder", encoder, "--m", 8, "--nbits", 4, "--epochs", 0]
    run(train, *start, "--neighbours", 4, "--output", tmp_path / "jpq")
    run(index, "build", "--like", tmp_path / "jpq", "--embeddings", flat, "--output", tmp_path / "like")
    run(index, "add", "--index", tmp_path / "jpq", "--embeddings", more, "--output", tmp_path / "grown")
    trained, like, grown = (JPQIndex.open(tmp_path / name) for name in ("jpq", "like", "grown"))
    assert (trained.codec.assignment.weight, trained.codec.assignment.neighbours) == (10, 4)
    assert trained.codec.assignment.shrinkage > 0
    assert np.array_equal(like.codes, trained.codes)
    assert np.array_equal(grown.codes[:400], trained.codes)
    added = np.array(FlatFolder.open(more).embeddings)
    there = Neighbourhood(trained.codec.decode(trained.codes), 4)
    assert np.array_equal(grown.codes[400:], trained.codec.beside(there).encode(added))
    one_by_one = trained.add(added[:3], ["x", "y", "z"])  # a document's code does not depend on those added with it
    assert np.array_equal(one_by_one.codes[400:], grown.codes[400:403])
    run(index, "describe", "--index", tmp_path / "grown")
    assert "assignment score-aware, h=10, 4 neighbours" in capsys.readouterr().out
    plain = dataclasses.replace(trained.codec, assignment=ScoreAware(10.0)).encode(
        np.array(FlatFolder.open(flat).embeddings)
    )
    assert not np.array_equal(plain, trained.codes)


def test_a_stopped_coding_goes_on_where_it_was(documents, centroids, tmp_path, monkeypatch):
    faiss_index = faiss.IndexFlatIP(8)
    faiss_index.add(documents)
    (tmp_path / "flat").mkdir()
    faiss.write_index(faiss_index, str(tmp_path / "flat" / "index"))
    (tmp_path / "flat" / "docid").write_text("".join(f"d{row}\n" for row in range(400)), encoding="utf-8")
    flat = FlatFolder.open(tmp_path / "flat")
    codec = ProductQuantizer(centroids, centroids, None, ScoreAware(10.0, 0.1, 4))
    whole = code_flat(flat, codec, progress=False)
    monkeypatch.setattr("jpq_pyserini.data.flat._CHUNK", 8 * 100)
    encode, coded = ProductQuantizer.encode, []

    def stopped(self, chunk):
        if len(coded) == 2:
            raise KeyboardInterrupt
        coded.append(len(chunk))
        return encode(self, chunk)

    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(ProductQuantizer, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        code_flat(flat, codec, progress=False, kept=kept)
    monkeypatch.setattr(ProductQuantizer, "encode", lambda *given: coded.append(len(given[1])) or encode(*given))
    assert np.array_equal(code_flat(flat, codec, progress=False, kept=kept), whole)
    assert coded == [100, 100, 100, 100]


def test_too_many_neighbours_and_neighbours_without_codes_are_refused():
    with pytest.raises(JPQError, match="--neighbours 1000 is not a whole number from 0 to 64"):
        TrainConfig(neighbours=1000)
    with pytest.raises(JPQError, match="--no-compress writes none"):
        TrainConfig(neighbours=8, compress=False, scoring="flat", negatives_from="flat")


def test_what_codes_depend_on_has_a_digest_of_its_own(centroids):
    costs = [(3.0, 0.0, 0), (0.0, 3.0, 0), (10.0, 0.0, 8), (10.08, 0.0, 0), (10.0, 0.1, 8)]
    assert len(
        {codec_digest(ProductQuantizer(centroids, centroids, None, ScoreAware(*each))) for each in costs}
    ) == len(costs)


def test_shards_of_other_costs_are_not_merged(documents, centroids):
    shards = []
    for start, neighbours in ((0, 0), (200, 4)):
        codec = ProductQuantizer(centroids, centroids, None, ScoreAware(10.0, neighbours=neighbours))
        part = documents[start : start + 200]
        shards.append(JPQIndex(codec, codec.encode(part), [f"d{start + row}" for row in range(200)]))
    with pytest.raises(JPQError, match=r"chosen differently, by .*neighbours=0.*neighbours=4"):
        check_shards(shards)
