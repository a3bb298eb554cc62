"""The figure of hard negatives: which they are, where they stand, and what is told of bad input."""

import shutil

import numpy as np
import pytest

from jpq_pyserini import JPQIndex
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.encoders.text_encoder import embed_queries, load_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.figures import negatives
from jpq_pyserini.eval.figures.__main__ import main

from helpers.figure_files import drawn


def _arguments(tiny, folder, *options):
    files = ["--topics", tiny / "topics.tsv", "--qrels", tiny / "qrels.txt", "--output", folder / "out"]
    return [
        "negatives",
        *map(str, ["--embeddings", tiny / "flat", "--index", f"tiny={tiny / 'index'}", *files, *options]),
    ]


@pytest.mark.slow
def test_negatives(tiny, tmp_path, capsys):
    main(_arguments(tiny, tmp_path, "--qid", "q3", "q5", "--negatives", "12"))
    record, words, markers = drawn(tmp_path)
    index, flat = JPQIndex.open(tiny / "index"), FlatFolder.open(tiny / "flat")
    topics = dict(line.rstrip("\n").split("\t") for line in (tiny / "topics.tsv").open())
    printed = capsys.readouterr().out
    for panel, relevant in zip(record["panels"], (3, 5), strict=True):
        query = embed_queries(load_text_encoder(str(tiny / "encoder")), [topics[panel["qid"]]])
        exact = [row for row in np.argsort(-(query @ flat.embeddings.T)[0]) if row != relevant][:12]
        coded = [row for row in np.argsort(-index.codec.scores(query, index.codes)[0]) if row != relevant][:12]
        kinds = {f"d{row}": "both" if row in exact and row in coded else "bf" for row in exact}
        kinds |= {f"d{row}": "jpq" for row in coded if row not in exact} | {f"d{relevant}": "relevant"}
        assert {each["docid"]: each["kind"] for each in panel["documents"]} == kinds
        assert panel["shared"] == len(set(exact) & set(coded))
        assert f"tiny, query {panel['qid']}: {panel['shared']} of 12 negatives" in printed
        for kind in ("both", "bf", "jpq", "relevant"):
            expected = sum(each == kind for each in kinds.values())
            assert markers.get(f"{kind}:tiny:{panel['qid']}", 0) == expected
        assert markers[f"query:tiny:{panel['qid']}"] == 1
        assert np.isfinite([panel["query"], *(each["place"] for each in panel["documents"])]).all()
    assert {"BF negative only", "JPQ negative only", "negative of both", "relevant", "query"} <= set(words)


@pytest.mark.slow
def test_few_negatives_and_the_same_seed(tiny, tmp_path, capsys):
    written = []
    for _ in range(2):
        main(_arguments(tiny, tmp_path, "--qid", "q0", "--negatives", "1"))
        written.append((tmp_path / "out.svg").read_bytes())
    assert written[0] == written[1]


def test_distances_follow_inner_products():
    rng = np.random.default_rng(0)
    documents, query = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    together = negatives.of_one_length(documents, query)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.linalg.norm(documents, axis=1).max())
    distances = np.linalg.norm(together[:-1] - together[-1], axis=1)
    assert np.argsort(distances).tolist() == np.argsort(-documents @ query).tolist()


def test_bad_negatives_are_told(tiny, tmp_path):
    with pytest.raises(JPQError, match=r"--qid q77: no such query .*20 have one, the first is q0"):
        main(_arguments(tiny, tmp_path, "--qid", "q77"))
    shutil.copytree(tiny / "flat", tmp_path / "other")
    docids = (tiny / "flat" / "docid").read_text().split()
    (tmp_path / "other" / "docid").write_text("".join(f"{docid}\n" for docid in [*docids[:250], *docids[:249:-1]]))
    other = FlatFolder.open(tmp_path / "other")
    with pytest.raises(JPQError, match=r"not of one collection, document 250 is 'd250' in one and 'd299'"):
        negatives.check_same_collection(JPQIndex.open(tiny / "index"), other)
