"""Shards that are searched as one give what the index gives that they would merge to."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jpq_pyserini import JPQFaissSearcher, JPQIndex
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.__main__ import main
from jpq_pyserini.index.attached import RawVectors
from jpq_pyserini.index.directory import query_encoder_copier

from helpers.tiny import tiny_corpus


@pytest.fixture(scope="module")
def shards(collection, tmp_path_factory):
    """Five shards of unequal size, cut out of ``whole``."""
    whole = JPQIndex.open(collection / "whole")
    root, bounds = tmp_path_factory.mktemp("shards"), [0, 7, 2000, 2001, 4000, 6500]
    return [cut(whole, root / f"shard-{i}", *bounds[i : i + 2]) for i in range(5)]


def cut(whole, folder, first, stop):
    """Save rows of an index, with their vectors, as an index directory."""
    raw = whole.vectors.read_raw(np.arange(first, stop))
    vectors = RawVectors(raw, whole.vectors.dtype, whole.codec.dimension)
    part = JPQIndex(
        whole.codec,
        whole.codes[first:stop],
        whole.docids[first:stop],
        encoder=whole.record.encoder,
        vectors=vectors,
    )
    return part.save(folder, query_encoder_copier(whole.path))


def hits(searcher, queries, k, threads=1, **options):
    found = searcher.batch_search(queries, [str(n) for n in range(len(queries))], k, threads=threads, **options)
    return {qid: [(hit.docid, hit.score) for hit in theirs] for qid, theirs in found.items()}


def test_hits_are_those_of_the_whole(collection, shards):
    queries = tiny_corpus(40, seed=3)[1]
    whole, together = (JPQFaissSearcher(index, rescore=0) for index in (collection / "whole", shards))
    assert together.num_docs == 6500
    for k, threads in ((1, 1), (10, 3), (1000, 2)):
        assert hits(together, queries, k, threads) == hits(whole, queries, k)


@pytest.mark.parametrize("rescore", [None, 30, 6500])
def test_rescored_hits_are_those_of_the_whole(collection, shards, rescore):
    queries = tiny_corpus(40, seed=3)[1]
    whole, together = (JPQFaissSearcher(index, rescore=rescore) for index in (collection / "whole", shards))
    wanted = rescore or 200 + 2 * 10
    scores, _ = whole.index.propose(whole.query_encoder.encode_batch(queries), wanted + 1)
    told = [len(each) <= wanted or each[-1] < each[-2] for each in scores]  # which document is the last candidate
    queries = [query for query, is_told in zip(queries, told, strict=True) if is_told]
    assert len(queries) > 20
    assert hits(together, queries, 10, 2) == hits(whole, queries, 10)


def test_vectors_for_feedback_are_those_of_the_whole(collection, shards):
    queries = tiny_corpus(3, seed=4)[1]
    for rescore in (0, None):
        whole, together = (JPQFaissSearcher(index, rescore=rescore) for index in (collection / "whole", shards))
        for query in queries:
            mine, theirs = (searcher.search(query, k=5, return_vector=True)[1] for searcher in (together, whole))
            assert [hit.docid for hit in mine] == [hit.docid for hit in theirs]
            np.testing.assert_allclose([hit.vectors for hit in mine], [hit.vectors for hit in theirs], atol=1e-5)


def test_a_folder_stands_for_shards(collection, shards, tmp_path):
    from pyserini.search.faiss import FaissSearcher

    main(["shards", "--indexes", *map(str, shards), "--output", str(tmp_path / "all")])
    queries = tiny_corpus(10, seed=5)[1]
    stock = hits(FaissSearcher(str(tmp_path / "all"), "jpq"), queries, 20, threads=2)
    assert stock == hits(FaissSearcher(str(collection / "whole"), "jpq"), queries, 20)
    assert stock == hits(JPQFaissSearcher(tmp_path / "all"), queries, 20)


def test_a_shard_that_was_changed_is_told(shards, tmp_path):
    main(["shards", "--indexes", *map(str, shards[:2]), "--output", str(tmp_path / "all")])
    entries = json.loads((tmp_path / "all" / "shards.json").read_text())
    entries["shards"][1]["record_sha256"] = "0"
    (tmp_path / "all" / "shards.json").write_text(json.dumps(entries))
    with pytest.raises(JPQError, match=r"shard-1 was changed after .*shards\.json was written: write it again"):
        JPQFaissSearcher(tmp_path / "all")


def test_what_cannot_be_searched_as_one(collection, shards, tmp_path):
    with pytest.raises(JPQError, match=r"docid x7 is in .*shard-1 and again in .*whole"):
        JPQFaissSearcher([shards[1], collection / "whole"])
    other = JPQIndex.open(shards[0])
    other.codec.centroids[0, 0, 0] += 1
    other.save(tmp_path / "other")
    with pytest.raises(JPQError, match=r"shard-1 and .*other cannot be searched as one, the assignment centroids of"):
        JPQFaissSearcher([shards[1], tmp_path / "other"])
    bare = JPQIndex.open(shards[0], vectors=False)
    bare.record = replace(bare.record, vectors={})
    bare.save(tmp_path / "bare", query_encoder_copier(shards[0]))
    with pytest.raises(JPQError, match=r"shard-1 has the documents' vectors and .*bare has not"):
        main(["shards", "--indexes", str(shards[1]), str(tmp_path / "bare"), "--output", str(tmp_path / "mixed")])
