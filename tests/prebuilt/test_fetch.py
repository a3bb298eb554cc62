"""Packed, listed, fetched and searched by name: from Python and the command line, in the Pyserini that is here."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyserini.search.faiss import FaissSearcher

from jpq_pyserini import JPQError, JPQFaissSearcher
from jpq_pyserini.prebuilt import directory_of, fetch, find, is_downloaded, remove, verify_directory
from jpq_pyserini.prebuilt.packing import pack

from helpers.faulty_server import faulty_server
from helpers.hub_server import SHA, hub_server
from helpers.processes import BRINGS_LISTS, read_run, run_module, run_python

NAME = "tiny.jpq-m8"


@pytest.fixture(scope="module")
def packed(tiny, tmp_path_factory):
    """A folder with tarball, catalogue and README of the tiny index."""
    output = tmp_path_factory.mktemp("packed") / "share"
    pack(tiny / "index", output, name=NAME)
    return output


@pytest.fixture
def share(packed, tmp_path, monkeypatch):
    """The same in a cache and a catalogue of the test's own, where nothing but this machine can be reached."""
    shutil.copytree(packed, tmp_path / "share")
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JPQ_PREBUILT", str(tmp_path / "share"))
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # refuses connections
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "share"


def in_cache(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "indexes").iterdir())


def test_fetch_verify_remove(share, tmp_path):
    directory = fetch(NAME, progress=False)
    assert in_cache(tmp_path) == [directory.name]
    assert directory.name == f"{find(NAME).filename.removesuffix('.tar.gz')}.{find(NAME).md5}"
    assert verify_directory(directory) == []
    (share / find(NAME).filename).unlink()
    assert fetch(NAME) == directory  # from the cache
    (directory / "docid").write_text("x")
    assert verify_directory(directory) == ["docid"]
    assert remove(NAME) == [directory]
    assert in_cache(tmp_path) == []
    assert remove(NAME) == []
    with pytest.raises(JPQError, match=r"could not download .*No such file"):
        fetch(NAME)


def test_force_keeps_the_old_index_until_the_new_one_is_there(share, tmp_path):
    directory = fetch(NAME, progress=False)
    (directory / "mark").touch()
    archive = share / find(NAME).filename
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + b"!")
    with pytest.raises(JPQError, match="md5"):
        fetch(NAME, force=True, progress=False)
    assert (directory / "mark").exists()
    archive.write_bytes(content)
    assert fetch(NAME, force=True, progress=False) == directory
    assert not (directory / "mark").exists()
    assert in_cache(tmp_path) == [directory.name]


@pytest.mark.slow
def test_two_processes_download_once(share, tmp_path):
    entry = find(NAME)
    with faulty_server() as server:
        server.files["/x"] = (share / entry.filename).read_bytes()
        server.faults["/x"] = [("sleep", 1.0)]
        catalogue = {NAME: entry.to_json() | {"urls": [f"{server.url}/x"]}}
        (share / f"{NAME}.json").write_text(json.dumps(catalogue))
        with ThreadPoolExecutor(2) as pool:
            commands = [pool.submit(run_python, "-m", "jpq_pyserini.prebuilt", "fetch", NAME) for _ in range(2)]
            printed = {command.result().stdout for command in commands}
        assert printed == {f"{directory_of(entry)}\n"}
        assert server.requests == [("/x", None)]
    assert in_cache(tmp_path) == [directory_of(entry).name]


def test_a_dead_process_leaves_no_lock_and_a_resumable_download(share, tmp_path):
    entry = find(NAME)
    target = directory_of(entry)
    target.parent.mkdir(parents=True)
    content = (share / entry.filename).read_bytes()
    (target.parent / f".{target.name}.lock").touch()
    (target.parent / f".{target.name}.download.partial").write_bytes(content[:5000])
    fetch(NAME, progress=False)
    assert in_cache(tmp_path) == [target.name]


def test_full_disk_while_unpacking_keeps_the_download(share, tmp_path, monkeypatch):
    entry = find(NAME)
    plain = shutil.disk_usage

    def usage(path):  # full as soon as the archive is there
        archive = directory_of(entry).with_name(f".{directory_of(entry).name}.download")
        return shutil._ntuple_diskusage(10, 10, 5) if archive.exists() else plain(path)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(JPQError, match=r"no space left in .*5 are free.*: free some"):
        fetch(NAME, progress=False)
    assert in_cache(tmp_path) == [f".{directory_of(entry).name}.download"]
    monkeypatch.setattr(shutil, "disk_usage", plain)
    (share / entry.filename).unlink()
    assert verify_directory(fetch(NAME, progress=False)) == []
    assert in_cache(tmp_path) == [directory_of(entry).name]


def test_options_of_the_release_are_refused_for_others(share):
    with pytest.raises(JPQError, match="--docids is for indexes of the authors' release"):
        fetch(NAME, docids="docid")


@pytest.mark.slow
def test_hub_first_then_urls(share, tiny, tmp_path):
    files = {
        str(path.relative_to(tiny / "index")): path.read_bytes()
        for path in (tiny / "index").rglob("*")
        if path.is_file()
    }
    values = find(NAME).to_json()
    with hub_server("someone/tiny") as server:
        server.files.update(files | {"README.md": b"a card", "evil.py": b"import os"})
        hub = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": None, "HF_TOKEN": None}
        hub["HF_HOME"] = str(tmp_path / "hf")

        def fetched(**entries):
            (share / f"{NAME}.json").write_text(json.dumps(entries))
            (name,) = entries
            done = run_python("-m", "jpq_pyserini.prebuilt", "fetch", name, check=False, **hub)
            return Path(done.stdout.strip() or "."), done.stderr

        directory, _ = fetched(hubbed={"hub": f"someone/tiny@{SHA}", "documents": 300})
        assert directory.name == "hubbed.hub"
        assert {
            str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
        } == files
        assert in_cache(tmp_path) == ["hubbed.hub"]
        _, said = fetched(wrong={"hub": "someone/tiny", "documents": 301})
        assert "has N=300, the catalogue says 301" in said
        directory, said = fetched(**{NAME: values | {"hub": "someone/other"}})  # no such repository: the tarball
        assert "cannot get someone/other" in said
        assert verify_directory(directory) == []


def test_unwritable_cache_is_one_line(share, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "file"))
    with pytest.raises(JPQError, match=r"cannot write to .*set PYSERINI_CACHE"):
        fetch(NAME, progress=False)


def test_searchers_by_name(share, tiny):
    query = (tiny / "topics.tsv").read_text().split("\n")[0].split("\t")[1]
    expected = [(hit.docid, hit.score) for hit in JPQFaissSearcher(tiny / "index").search(query)]
    ours = JPQFaissSearcher.from_prebuilt_index(NAME)
    stock = FaissSearcher.from_prebuilt_index(NAME, "jpq")
    assert type(stock) is FaissSearcher
    for searcher in (ours, stock, FaissSearcher.from_prebuilt_index(prebuilt_index_name=NAME, query_encoder="jpq")):
        assert [(hit.docid, hit.score) for hit in searcher.search(query)] == expected
        assert searcher.doc("d1") is None  # no catalogue names its texts


def test_texts_are_fetched_when_they_are_asked_for(share, monkeypatch):
    from pyserini.search.lucene import LuceneSearcher

    catalogue = {NAME: find(NAME).to_json() | {"texts": "some-lucene-index"}}
    (share / f"{NAME}.json").write_text(json.dumps(catalogue))
    asked = []

    class Texts:
        def doc(self, docid):
            return f"text of {docid}"

    monkeypatch.setattr(LuceneSearcher, "from_prebuilt_index", lambda name: asked.append(name) or Texts())
    searcher = FaissSearcher.from_prebuilt_index(NAME, "jpq")
    assert asked == []
    assert searcher.doc("d1") == "text of d1"
    assert asked == ["some-lucene-index"]


def test_lists_and_look_ups_of_pyserini(share, capsys):
    from pyserini import util

    FaissSearcher.list_prebuilt_indexes()
    printed = capsys.readouterr().out
    assert NAME in printed
    assert "msmarco-v1-passage.jpq-m96" in printed
    assert "msmarco-v1-passage.bge-base-en-v1.5" in printed or not BRINGS_LISTS  # Pyserini's own
    assert util.check_downloaded(NAME) is False
    assert util.download_prebuilt_index(NAME) == str(directory_of(find(NAME)))
    assert util.check_downloaded(NAME) is True
    assert is_downloaded(find(NAME))
    assert util.get_sparse_index(NAME) is None


@pytest.mark.parametrize("searcher", [FaissSearcher, JPQFaissSearcher])
def test_unknown_names_raise(share, searcher):
    with pytest.raises(JPQError, match=r"'tiny\.jpq'.*did you mean tiny\.jpq-m8"):
        searcher.from_prebuilt_index("tiny.jpq", "jpq")


@pytest.mark.skipif(not BRINGS_LISTS, reason="its names are fetched")
def test_names_of_pyserini_stay_pyserinis(share, monkeypatch):
    """The name is known, the network is away: our line instead of None, after Pyserini's own words."""
    import pyserini.util

    def download(*args, **kwargs):
        raise ValueError("Unable to download prebuilt index at any known URLs.")

    monkeypatch.setattr("pyserini.search.faiss._searcher.download_prebuilt_index", download)
    assert pyserini.util.FAISS_INDEX_INFO["msmarco-v1-passage.bge-base-en-v1.5"]
    with pytest.raises(JPQError, match="Pyserini could not fetch its prebuilt index"):
        FaissSearcher.from_prebuilt_index("msmarco-v1-passage.bge-base-en-v1.5", "jpq")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_command_line_searches_by_name(share, tiny, static_index, tmp_path, scheme):
    """Through http an index with a query encoder of another kind."""
    index = tiny / "index" if scheme == "file" else static_index
    if scheme == "http":
        shutil.rmtree(share)
        pack(static_index, share, name=NAME)
    entry = find(NAME)
    flags = ["--encoder", "jpq", "--topics", tiny / "topics.tsv", "--hits", 10, "--output", tmp_path / "run"]
    with faulty_server() as server:
        for path in share.iterdir():
            server.files[f"/{path.name}"] = path.read_bytes()
        server.faults[f"/{entry.filename}"] = [("cut", 20_000)]
        url = share.as_uri() if scheme == "file" else f"{server.url}/{NAME}.json"
        run_module("pyserini.search.faiss", "--index", NAME, *flags, JPQ_PREBUILT=url)
        if scheme == "http":
            assert (f"/{entry.filename}", "bytes=20000-") in server.requests
    run = read_run(tmp_path / "run")
    searcher = JPQFaissSearcher(index)
    for line in (tiny / "topics.tsv").read_text().splitlines():
        topic, query = line.split("\t")
        hits = searcher.search(query, k=10)
        assert [docid for docid, _ in run[topic]] == [hit.docid for hit in hits]
        assert [score for _, score in run[topic]] == pytest.approx([hit.score for hit in hits], abs=1e-4)


@pytest.mark.slow
def test_command_line_faults_end_in_one_line(share, tiny, tmp_path):
    flags = ["--encoder", "jpq", "--topics", tiny / "topics.tsv", "--output", tmp_path / "run"]
    unknown = run_module("pyserini.search.faiss", "--index", "tiny.jpq", *flags, check=False)
    (share / find(NAME).filename).write_bytes(b"\x1f\x8bnot this")
    corrupt = run_module("pyserini.search.faiss", "--index", NAME, *flags, check=False)
    for done, reason in ((unknown, f"did you mean {NAME}"), (corrupt, "the catalogue says")):
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert [reason in line for line in done.stderr.splitlines() if line.startswith("error: ")] == [True]
    assert not (tmp_path / "run").exists()
    assert in_cache(tmp_path) == []


@pytest.mark.slow
def test_our_command_line(share, tiny, tmp_path):
    def ours(*arguments, **options):
        return run_module("jpq_pyserini.prebuilt", *arguments, **options)

    assert ours("list", "--names-only").stdout.split()[:2] == [NAME, "msmarco-v1-passage.jpq-m96"]
    shown = ours("show", NAME).stdout
    assert find(NAME).sha256 in shown
    assert "## How to use it" in shown
    shown = ours("show", "msmarco-v1-passage.jpq-m96").stdout
    assert "| TREC 2019 DL passage | NDCG@10 | 0.677 |" in shown
    done = ours("verify", NAME, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"fetch {NAME}" in done.stderr
    directory = ours("fetch", NAME).stdout.strip()
    assert "all files are as they were saved" in ours("verify", NAME).stdout
    with open(os.path.join(directory, "docid"), "a") as file:
        file.write("x\n")
    done = ours("verify", NAME, check=False)
    assert (done.returncode, "damaged: docid" in done.stdout) == (1, True)
    assert "removed" in ours("remove", NAME).stdout
    packed = ours("pack", tiny / "index", "--name", "other", "--output", tmp_path / "other").stdout
    assert "md5" in packed
    assert sorted(path.suffix for path in (tmp_path / "other").iterdir()) == [".gz", ".json", ".md"]
    done = ours("pack", tiny / "index", "--name", "a/b", "--output", tmp_path / "no", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
