"""Indexes of PyTerrier's JPQ: of its own package where it is installed, and of files in its layout."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.description import history
from jpq_pyserini.index.imported.pyterrier import import_pyterrier
from jpq_pyserini.plugin.searcher import JPQFaissSearcher

from helpers.tiny import tiny_corpus, tiny_encoder

N, D, M, K = 50, 32, 8, 256
DOCIDS = [f"d{row}" for row in range(N)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Centroids, codes, a rotation as their files have it, and the query encoder."""
    rng = np.random.default_rng(0)
    centroids = rng.standard_normal((M, K, D // M), dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32)
    codes = rng.integers(0, K, (N, M), dtype=np.uint8)
    return centroids, codes, rotation, tiny_encoder(tmp_path_factory.mktemp("pyterrier") / "encoder", D)


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    centroids, codes, rotation, _ = trained
    path = tmp_path / "theirs"
    path.mkdir()
    meta = {"type": "dense_index", "format": "jpq", "M": M, "Ks": K, "dsub": D // M, "doc_count": N, "opq": True}
    (path / "pt_meta.json").write_text(json.dumps(meta))
    for name, array in (("codes.f4", codes), ("subvecs.f4", centroids), ("opq.f4", rotation)):
        array.tofile(path / name)
    (tmp_path / "docids").write_text("".join(f"{docid}\n" for docid in DOCIDS))
    return path


def test_scores_are_those_of_their_formula(folder, trained, tmp_path, capsys):
    centroids, codes, rotation, encoder = trained
    main(
        ["import", "--index", str(folder), "--encoder", str(encoder), "--query-prefix", "query:",
         "--docids", str(tmp_path / "docids"), "--output", str(tmp_path / "ours")]
    )  # fmt: skip
    assert capsys.readouterr().out.strip() == str(tmp_path / "ours")
    texts = tiny_corpus(5)[1]
    queries = embed_queries(load_text_encoder(str(encoder)), [f"query: {text}" for text in texts])
    documents = centroids[np.arange(M), codes].reshape(N, D)
    expected = queries @ rotation @ documents.T
    searcher = JPQFaissSearcher(tmp_path / "ours")
    for b, text in enumerate(texts):
        hits = searcher.search(text, k=N)
        assert [hit.docid for hit in hits[:10]] == [DOCIDS[row] for row in np.argsort(-expected[b])[:10]]
        assert [hit.score for hit in hits] == pytest.approx(np.sort(expected[b])[::-1], abs=2e-5)
    assert "Imported from PyTerrier's JPQ" in history(JPQIndex.open(tmp_path / "ours").record)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "pt_meta.json").unlink(), "pt_meta.json is missing"),
        (lambda path: (path / "pt_meta.json").write_text('{"type": "dense_index", "format": "flex"}'), "format: "),
        (lambda path: (path / "codes.f4").write_bytes(b"x"), "codes.f4 has 1 bytes, 400 expected"),
        (lambda path: (path / "opq.f4").unlink(), "opq.f4 cannot be read"),
        (lambda path: np.full(D * D, np.nan, np.float32).tofile(path / "opq.f4"), "opq.f4 holds NaN or infinity"),
    ],
)
def test_damaged_folders_end_in_one_line(folder, trained, tmp_path, damage, message):
    damage(folder)
    with pytest.raises(JPQError) as error:
        import_pyterrier(folder, str(trained[-1]), tmp_path / "ours", docids=tmp_path / "docids")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()


def test_another_encoder_and_other_arguments_are_refused(folder, trained, tmp_path):
    other = tiny_encoder(tmp_path / "other", 16)
    with pytest.raises(JPQError, match=r"gives 16 dimensions, .* has 32"):
        import_pyterrier(folder, str(other), tmp_path / "ours", docids=tmp_path / "docids")
    given = ["import", "--encoder", str(trained[-1]), "--output", str(tmp_path / "ours"), "--index"]
    with pytest.raises(JPQError, match="--tokenizer does not go with --index FOLDER, an index of PyTerrier's JPQ"):
        main([*given, str(folder), "--tokenizer", "x"])
    with pytest.raises(JPQError, match="--query-prefix goes with --index FOLDER"):
        main([*given, str(folder / "codes.f4"), "--query-prefix", "x"])


def test_an_index_that_its_own_package_wrote(trained, tmp_path):
    jpq = pytest.importorskip(
        "pyterrier_dr.jpq", reason="PyTerrier's JPQ is not installed: pip install pyterrier-dr[jpq]"
    )
    pandas = pytest.importorskip("pandas")
    centroids, codes, rotation, encoder = trained
    theirs = jpq.JPQIndex.build(str(tmp_path / "theirs"), DOCIDS, codes, centroids, opq=rotation)
    queries = embed_queries(load_text_encoder(str(encoder)), ["one", "two three"])
    topics = pandas.DataFrame({"qid": ["0", "1"], "query": ["one", "two three"], "query_vec": list(queries)})
    found = theirs.retriever_pq(topk=10).transform(topics)
    ours = JPQIndex.open(import_pyterrier(tmp_path / "theirs", str(encoder), tmp_path / "ours"))
    assert list(ours.docids) == DOCIDS
    scores, rows = ours.faiss_index.search(queries, 10)
    for b in range(2):
        of_query = found[found["qid"] == str(b)].sort_values("rank")
        assert [DOCIDS[row] for row in rows[b]] == of_query["docno"].tolist()
        assert scores[b] == pytest.approx(of_query["score"].to_numpy(), abs=1e-4)
    shutil.rmtree(tmp_path / "theirs")
