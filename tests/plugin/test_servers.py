"""Pyserini's REST and MCP servers with JPQ indexes: by path in their configuration, and by prebuilt name."""

import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from helpers.processes import read_run, run_module, run_python
from helpers.tiny import tiny_corpus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.metadata.version("pyserini").startswith("1."),
        reason="the servers of Pyserini 1.6 need a package that is not on PyPI, and no configuration",
    ),
]
HITS = 5


@pytest.fixture(scope="module")
def served(tiny, tmp_path_factory):
    """A configuration, a catalogue, the environment of the servers, a query and what it finds: (docid, score)."""
    from jpq_pyserini.prebuilt.packing import pack

    root = tmp_path_factory.mktemp("served")
    texts, _ = tiny_corpus(300)
    (root / "corpus").mkdir()
    lines = (json.dumps({"id": f"d{i}", "contents": text}) + "\n" for i, text in enumerate(texts))
    (root / "corpus" / "documents.jsonl").write_text("".join(lines))
    lucene = ["--collection", "JsonCollection", "--input", root / "corpus", "--index", root / "lucene", "--storeRaw"]
    run_python("-m", "pyserini.index.lucene", *lucene, "--generator", "DefaultLuceneDocumentGenerator", "--threads", 1)
    pack(tiny / "index", root / "share", name="served.jpq")
    catalogue = root / "share" / "served.jpq.json"
    entries = json.loads(catalogue.read_text())
    entries["served.jpq"]["texts"] = "texts"
    catalogue.write_text(json.dumps(entries))
    config = {"texts": str(root / "lucene"), "mine": {"path": str(tiny / "index"), "base_index": "texts"}}
    (root / "config.yaml").write_text(json.dumps({"indexes": config}))  # JSON is YAML
    first = (tiny / "topics.tsv").read_text().splitlines()[0]
    (root / "topics.tsv").write_text(first + "\n")
    search = ["--encoder", "jpq", "--index", tiny / "index", "--topics", root / "topics.tsv", "--hits", HITS]
    run_module("pyserini.search.faiss", *search, "--output", root / "run")
    environment = {"PYSERINI_CACHE": str(root / "cache"), "JPQ_PREBUILT": str(root / "share"), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **environment, "HF_HUB_OFFLINE": "1", "http_proxy": "", "https_proxy": ""}
    return root, environment, first.split("\t")[1], next(iter(read_run(root / "run").values())), texts


@pytest.mark.parametrize("alone", [False, True])
def test_rest(served, alone):
    root, environment, query, expected, texts = served
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "pyserini.server.rest", "--host", "127.0.0.1", "--port", port, "--config", root / "config.yaml"]
    command += ["--no-prebuilt-indexes"] * alone
    log = (root / f"rest-{alone}.log").open("w")
    process = subprocess.Popen([sys.executable, *map(str, command)], env=environment, stdout=log, stderr=log)
    try:
        for name in ["mine"] if alone else ["mine", "served.jpq"]:
            arguments = urllib.parse.urlencode({"query": query, "hits": HITS})
            answer = _asked(
                f"http://127.0.0.1:{port}/v1/{name}/search?{arguments}", process, root / f"rest-{alone}.log"
            )
            _assert_found(answer["candidates"], expected, texts)
    finally:
        process.terminate()
        process.wait(60)


def _asked(url, process, log):
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=300) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{url}: {error.code} {error.read().decode()}\n{log.read_text()[-3000:]}")
        except urllib.error.URLError:
            time.sleep(0.5)
    pytest.fail(f"no answer: {log.read_text()[-3000:]}")


def test_mcp(served):
    root, environment, query, expected, texts = served
    command = [sys.executable, "-m", "pyserini.server.mcp", "--config", str(root / "config.yaml")]
    errors = (root / "mcp.log").open("w")
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    )

    def call(number, method, **parameters):
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line) if line.startswith("{") else {}
            if answer.get("id") == number:
                return answer["result"]
        pytest.fail((root / "mcp.log").read_text()[-3000:])

    try:
        client = {"name": "test", "version": "1"}
        call(1, "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo=client)
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\n")
        for number, name in enumerate(("mine", "served.jpq"), 2):
            answer = call(number, "tools/call", name="search", arguments={"query": query, "index": name, "hits": HITS})
            shown = "\n".join(part["text"] for part in answer["content"])
            assert "DocID" in shown, answer
            found = re.findall(r"DocID: (\S+) \| Score: ([-\d.]+)", shown)
            _assert_found([{"docid": docid, "score": score, "doc": shown} for docid, score in found], expected, texts)
    finally:
        process.terminate()
        process.wait(60)


def _assert_found(candidates, expected, texts):
    assert [each["docid"] for each in candidates] == [docid for docid, _ in expected]
    for each, (docid, score) in zip(candidates, expected, strict=True):
        assert float(each["score"]) == pytest.approx(score, abs=1e-4)
        assert texts[int(docid[1:])] in str(each)
