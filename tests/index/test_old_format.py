"""Index directories that version 0.1.0 wrote (commit b5fee07) open, verify and give the hits that it gave.

They hold 200 random documents, 50 of them added, in each layout; ``expected.json`` has what 0.1.0 found for 5 queries.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jpq_pyserini.index import IndexDirectory, JPQIndex, layouts
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.exact import ExactIndex

OLD = Path(__file__).parents[1] / "data" / "index-0.1.0"


def hits(directory, queries):
    parts = IndexDirectory.open(directory, verify=True)
    scores, rows = ExactIndex(parts.faiss_index, parts.docids).search(queries, 10)
    return [
        [[parts.docids[row], score] for row, score in zip(*query, strict=True) if row >= 0]
        for query in zip(rows.tolist(), scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_an_index_of_the_first_release(tmp_path, layout):
    expected = json.loads((OLD / "expected.json").read_text())
    queries = np.array(expected["queries"], np.float32)
    found = hits(OLD / layout, queries)
    for ours, theirs in zip(found, expected["hits"][layout], strict=True):
        assert [docid for docid, _ in ours] == [docid for docid, _ in theirs]
        np.testing.assert_allclose([score for _, score in ours], [score for _, score in theirs], atol=2e-6)
    record = JPQIndex.open(OLD / layout).record
    assert record.versions["jpq_pyserini"] == "0.1.0"
    assert (record.layout, record.encoder["max_length"], record.training["best_step"]) == (layout, 128, 10)
    shutil.copytree(OLD / layout, tmp_path / "old")  # what is made of it is as good
    main(["convert", "--index", str(tmp_path / "old"), "--output", str(tmp_path / "new")])
    assert hits(tmp_path / "new", queries) == found
