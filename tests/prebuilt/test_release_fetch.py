"""Catalogue entries of the authors' release: downloaded, imported, and nothing left behind when that fails."""

import json
import logging
import tarfile

import numpy as np
import pytest

from jpq_pyserini import JPQError, JPQIndex
from jpq_pyserini.prebuilt import fetch

from helpers.faulty_server import faulty_server
from helpers.release_files import M, write_tokenizer


@pytest.fixture
def catalogue(release, index_file, tmp_path, monkeypatch):
    """A server with a release entry ``small`` in a catalogue of ours; yields (server, entry, write)."""
    with tarfile.open(tmp_path / "m8.tar.gz", "w:gz") as tar:
        tar.add(release / f"m{M}", arcname=f"m{M}")
    write_tokenizer(tmp_path / "tokenizer")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JPQ_PREBUILT", str(tmp_path / "catalogue.json"))
    with faulty_server() as server:
        server.files = {"/i": index_file.read_bytes(), "/m8.tar.gz": (tmp_path / "m8.tar.gz").read_bytes()}
        encoder = {
            "urls": [f"{server.url}/m8.tar.gz"],
            "tokenizer": str(tmp_path / "tokenizer"),
            "max_query_length": 32,
        }
        jpq = {"kind": "release", "m": M, "encoder": encoder, "docids": "row"}
        entry = {"filename": index_file.name, "urls": [f"{server.url}/i"], "md5": None, "documents": 300, "jpq": jpq}

        def write(values):
            (tmp_path / "catalogue.json").write_text(json.dumps({"small": values}))

        write(entry)
        yield server, entry, write


def test_fetch_imports(catalogue, imported, caplog):
    caplog.set_level(logging.WARNING)
    directory = fetch("small", progress=False)
    assert "nobody published a checksum of small" in caplog.text
    np.testing.assert_array_equal(JPQIndex.open(directory).codes, JPQIndex.open(imported).codes)
    names = sorted(path.name for path in directory.parent.iterdir())
    assert names == ["small.imported"]
    server = catalogue[0]
    server.files.clear()
    assert fetch("small") == directory  # from the cache


def test_fetch_that_fails_leaves_nothing(catalogue, tmp_path):
    server, entry, write = catalogue
    for change, reason in (
        ({"documents": 301}, "has N=300, the catalogue says 301"),
        ({"jpq": entry["jpq"] | {"m": 16}}, "has M=8, the catalogue says 16"),
        (
            {"jpq": entry["jpq"] | {"docids": "collection", "collection": "docs.tsv"}},
            r"fetch small --collection docs\.tsv",
        ),
        ({"urls": [f"{server.url}/m8.tar.gz"]}, "which is no such file"),
    ):
        write(entry | change)
        with pytest.raises(JPQError, match=reason):
            fetch("small", progress=False)
        assert list((tmp_path / "cache" / "indexes").iterdir()) == []
