"""Pyserini's catalogues, which 2.4 fetches at import: kept once fetched, done without where there is no network."""

import io
import json

import pytest

from jpq_pyserini.plugin import catalogues

from helpers.processes import BRINGS_LISTS, run_python

URL = f"https://raw.githubusercontent.com/castorini/eval/{'0a' * 20}/topics.json"


@pytest.fixture
def network(monkeypatch, tmp_path):
    """What is fetched, and what of; a value that is an error is raised."""
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path))
    monkeypatch.setattr(catalogues, "_said", [])
    asked, served = [], {}

    def urlopen(url, timeout=None):
        asked.append(url)
        if isinstance(served[url], Exception):
            raise served[url]
        return io.BytesIO(served[url])

    monkeypatch.setattr(catalogues, "_plain", urlopen)
    return asked, served


def test_what_was_fetched_once_is_kept(network):
    asked, served = network
    served[URL] = b'{"a": 1}'
    for _ in range(2):
        with catalogues.open_kept(URL, timeout=10) as response:
            assert json.load(response) == {"a": 1}
    assert asked == [URL]


def test_without_a_network_what_is_kept_is_used_and_the_rest_is_empty(network, capsys):
    asked, served = network
    served[URL] = b'{"a": 1}'
    catalogues.open_kept(URL)
    others = [
        URL.replace("topics", "qrels"),
        URL.replace("topics", "lucene/x"),
        URL.replace("topics", "lucene/y-impact"),
    ]
    served |= {url: OSError("no route") for url in others}
    found = [json.load(catalogues.open_kept(url)) for url in others]
    assert found[:2] == [{}, []]
    assert [each["urls"] for each in found[2]] == [[], []]
    assert json.load(catalogues.open_kept(URL)) == {"a": 1}
    assert len(asked) == 2  # the network is given up after the first failure
    assert capsys.readouterr().err.count("cannot be fetched (no route)") == 1


def test_damaged_answers_are_not_kept_and_other_addresses_not_touched(network):
    asked, served = network
    served[URL] = b"<html>log in</html>"
    assert json.load(catalogues.open_kept(URL)) == {}
    served["https://example.org/x"] = b"x"
    for _ in range(2):
        assert catalogues.open_kept("https://example.org/x").read() == b"x"
    assert len(asked) == 3


_NAMED = """
import io, json, sys, urllib.request
from pathlib import Path
network = sys.argv[1] == "network"
reader = "io.anserini.search.topicreader.TsvIntTopicReader"
served = {
    "eval/topics.json": {"mine": {"path": "mine.tsv", "reader_class": reader}},
    "eval/qrels.json": {"mine": "mine.txt"},
    "eval/topics-aliases.json": {"mine": ["my-own"]},
    "eval/qrels-aliases.json": {},
    "faiss/msmarco-faiss.json": {"theirs": {"urls": ["https://host/x"], "md5": "0"}},
}
files = {"topics/mine.tsv": "7\\tseven\\n", "qrels/mine.txt": "7 0 d1 1\\n"}
import jpq_pyserini.plugin.catalogues as catalogues
def urlopen(url, *args, **kwargs):
    if not network:
        raise OSError("no network")
    name = "/".join(url.split("/")[-2:])
    name = "eval/" + name.split("/")[1] if "castorini/eval" in url else name
    return io.BytesIO(json.dumps(served.get(name, catalogues._empty(url))).encode())
def urlretrieve(url, path):
    assert network, url
    Path(path).write_text(files["/".join(url.split("/")[-2:])])
catalogues._plain, urllib.request.urlretrieve = urlopen, urlretrieve
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.errors import JPQError
from pyserini.prebuilt_index_info import FAISS_INDEX_INFO
print([read_topics("mine"), read_topics("my-own"), read_qrels("mine"), "theirs" in FAISS_INDEX_INFO])
for read in (read_topics, read_qrels):
    try:
        read("minne")
    except JPQError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(BRINGS_LISTS, reason="Pyserini before 2.4 brings its catalogues")
def test_named_topics_and_qrels_of_pyserini_2_4(tmp_path):
    for mode in ("network", "none"):
        lines = run_python("-c", _NAMED, mode, PYSERINI_CACHE=str(tmp_path)).stdout.splitlines()
        assert "[{'7': 'seven'}, {'7': 'seven'}, {'7': {'d1': 1}}, True]" in lines
        assert sum("did you mean mine?" in line for line in lines) == 2
    nothing = run_python("-c", "import pyserini.search.faiss", PYSERINI_CACHE=str(tmp_path / "new"), https_proxy="x:1")
    assert "catalogues cannot be fetched" in nothing.stderr
