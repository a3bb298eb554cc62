"""Shards that are built one at a time and merged are what one process builds, byte by byte."""

import pytest

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import JPQIndex
from jpq_pyserini.index.__main__ import main

from helpers.collection import build_arguments, embed_arguments, files_of


@pytest.fixture(scope="module")
def shards(tiny, collection):
    """Four shards by ``index build --shard-id``."""
    folders = [collection / f"shard-{number}" for number in range(4)]
    for number, folder in enumerate(folders):
        shard = ["--shard-id", str(number), "--shard-num", "4"]
        main([*build_arguments(tiny, collection), *shard, "--output", str(folder)])
    return folders


def test_merged_shards_are_the_whole(collection, shards, tmp_path):
    disordered = [str(shards[number]) for number in (2, 0, 3, 1)]
    main(["merge", "--indexes", *disordered, "--output", str(tmp_path / "merged")])
    assert files_of(tmp_path / "merged") == files_of(collection / "whole")


def test_shards_with_inverted_lists_become_the_whole_with_its_own(collection, shards):
    whole = JPQIndex.open(collection / "whole").convert("ivf")
    parts = [JPQIndex.open(shard).convert("ivf") for shard in shards]
    merged = JPQIndex.merge(parts)
    assert (merged.codes == whole.codes).all()
    assert (merged.coarse.centroids == whole.coarse.centroids).all()


def test_a_shard_that_is_missing_is_named(shards):
    parts = [JPQIndex.open(shard) for shard in shards[:3]]
    with pytest.raises(JPQError, match=r"shard 3 of the 4 of .*corpus is missing: .*--shard-id 3 --shard-num 4"):
        JPQIndex.merge(parts)


def test_shards_of_embeddings(tiny, collection, tmp_path):
    arguments = [*build_arguments(tiny, collection), "--embeddings", str(collection / "flat")]
    arguments.remove("--corpus")
    arguments.remove(str(collection / "corpus"))
    with pytest.raises(JPQError, match=r"6,500 documents, which are encoded 262,144 at once: .* at most 1 shards"):
        main([*arguments, "--shard-id", "0", "--shard-num", "2", "--output", str(tmp_path / "out")])
    main([*arguments, "--shard-id", "0", "--shard-num", "1", "--output", str(tmp_path / "out")])
    kept = files_of(tmp_path / "out", but=("jpq.json",))
    assert kept == files_of(collection / "whole", but=("jpq.json",))


def test_embedded_shards_are_parts_of_the_whole(tiny, collection, tmp_path):
    whole = files_of(collection / "flat")
    header = len(whole["index"]) - 6500 * 32 * 4
    rows = docids = b""
    for number in range(2):
        part = tmp_path / f"part-{number}"
        shard = ["--shard-id", str(number), "--shard-num", "2"]
        main([*embed_arguments(tiny, collection), *shard, "--output", str(part)])
        rows, docids = rows + (part / "index").read_bytes()[header:], docids + (part / "docid").read_bytes()
    assert rows == whole["index"][header:]
    assert docids == whole["docid"]


def test_shard_numbers_that_cannot_be(tiny, collection, tmp_path):
    arguments = [*build_arguments(tiny, collection), "--output", str(tmp_path / "out")]
    with pytest.raises(JPQError, match="shards are numbered from 0 to 1"):
        main([*arguments, "--shard-id", "2", "--shard-num", "2"])
    with pytest.raises(JPQError, match="at most 4 shards, not 6"):
        main([*arguments, "--shard-id", "0", "--shard-num", "6"])
    with pytest.raises(JPQError, match="go together"):
        main([*arguments, "--shard-id", "0"])
