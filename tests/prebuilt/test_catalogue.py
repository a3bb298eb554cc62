"""Catalogues: ours, users' own in every form, offline, and the errors they end in."""

import json
import logging
from pathlib import Path

import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.prebuilt import catalogue, readme
from jpq_pyserini.prebuilt.catalogue import BUILT_IN, find, load_entries
from jpq_pyserini.prebuilt.entries import RELEASE, Entry
from jpq_pyserini.prebuilt.paths import cache_home, local_path

from helpers.faulty_server import faulty_server

ENTRY = {"urls": ["https://example.org/x.tar.gz"], "filename": "x.tar.gz", "md5": "0" * 32}


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def write(path, **entries):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(entries))
    return path


def test_ours_is_complete(monkeypatch):
    monkeypatch.delenv(catalogue.VARIABLE, raising=False)
    entries = load_entries()
    assert sorted({(e.documents, e.jpq.m) for e in entries.values()}) == sorted(
        (count, m) for count in (8_841_823, 3_213_835) for m in (16, 24, 32, 48, 64, 96)
    )
    plain = json.loads(BUILT_IN.read_text())
    pyserini_keys = {"description", "filename", "readme", "urls", "md5", "size", "size compressed (bytes)", "documents"}
    for name, entry in entries.items():
        m = entry.jpq.m
        assert entry.kind == RELEASE
        assert plain[name].keys() >= pyserini_keys | {"downloaded", "texts"}
        assert entry.to_json() == plain[name]
        assert entry.urls[0].endswith(f"/OPQ{m}%2CIVF1%2CPQ{m}x8.index?dl=0")
        assert entry.jpq.encoder.urls[0].endswith(f"/m{m}.tar.gz?dl=0")
        shown = readme.of_release(entry)
        for fact in (*entry.urls, *entry.jpq.encoder.urls, f"{entry.documents:,}", f"--index {name}", readme.UNTRIED):
            assert fact in shown
    links = [url for e in entries.values() for url in (*e.urls, *e.jpq.encoder.urls)]
    assert len(set(links)) == 24  # no file stands for two


def test_documentation_tells_of_every_index():
    page = (Path(__file__).parents[2] / "docs" / "prebuilt.md").read_text(encoding="utf-8")
    for name, entry in load_entries().items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        duals = entry.jpq.dual_encoder.urls if entry.jpq.dual_encoder else ()
        assert row.split(" | ")[1:3] == [f"{entry.documents:,}", str(entry.jpq.m)]
        assert all(f"({url})" in row for url in (*entry.urls, *entry.jpq.encoder.urls, *duals))
        for queries, scores in entry.jpq.expected.items():
            for measure, score in scores.items():
                assert f"| {queries} | {measure} | {score:.3f} |" in page
    assert "could not be downloaded" in page


def test_published_scores():
    """Table 1 of the paper; NDCG@10 of TREC 2020 from the authors' README."""
    passage, document = find("msmarco-v1-passage.jpq-m96"), find("msmarco-v1-doc.jpq-m96")
    assert [list(scores.values()) for scores in passage.jpq.expected.values()] == [
        [0.341, 0.868],
        [0.677, 0.466],
        [0.671],
    ]
    assert [list(scores.values()) for scores in document.jpq.expected.values()] == [[0.401, 0.914], [0.623], [0.58]]
    assert not find("msmarco-v1-doc.jpq-m48").jpq.expected  # published as a curve only


def test_every_way_to_name_a_catalogue(tmp_path, monkeypatch):
    write(tmp_path / "one" / "a.json", a=ENTRY)
    write(tmp_path / "folder" / "b.json", b=ENTRY | {"urls": ["x.tar.gz"]})
    write(tmp_path / "folder" / "c.json", c=ENTRY)
    with faulty_server() as server:
        server.files["/group/d.json"] = json.dumps({"d": ENTRY | {"urls": ["x.tar.gz", "/y.tar.gz"]}}).encode()
        named = [tmp_path / "one" / "a.json", (tmp_path / "folder").as_uri(), f"{server.url}/group/d.json"]
        monkeypatch.setenv(catalogue.VARIABLE, ", ".join(map(str, named)))
        entries = load_entries()
        assert list(entries)[:4] == ["a", "b", "c", "d"]
        assert entries["b"].urls == ((tmp_path / "folder" / "x.tar.gz").as_uri(),)
        assert entries["d"].urls == (f"{server.url}/group/x.tar.gz", f"{server.url}/y.tar.gz")
        assert "msmarco-v1-doc.jpq-m16" in entries


def test_first_catalogue_wins(tmp_path, monkeypatch):
    name = "msmarco-v1-doc.jpq-m16"
    mirror = write(tmp_path / "mirror.json", **{name: ENTRY})
    monkeypatch.setenv(catalogue.VARIABLE, str(mirror))
    assert find(name).source == str(mirror)


def test_remote_catalogue_serves_offline(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    with faulty_server() as server:
        server.files["/d.json"] = json.dumps({"d": ENTRY}).encode()
        monkeypatch.setenv(catalogue.VARIABLE, f"{server.url}/d.json")
        assert "d" in load_entries()
    assert "d" in load_entries()
    assert "the copy of the last time is used" in caplog.text
    monkeypatch.setenv(catalogue.VARIABLE, f"{server.url}/other.json")
    with pytest.raises(JPQError, match=r"cannot read the catalogue .*refused.*JPQ_PREBUILT"):
        load_entries()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "holds a list"),
        ('{"a": 1}', "entry 'a' is a int"),
        ('{"../a": {}}', r"bad name='\.\./a'"),
        ('{"a": {}}', "urls must name one URL or more"),
        ('{"a": {"urls": []}}', "urls must name one URL or more"),
        ('{"a": {"urls": 5}}', "bad urls=5"),
        ('{"a": {"urls": ["http://["]}}', "bad entry.*Invalid IPv6"),
        ('{"a": {"urls": ["x", "http://["]}}', "bad urls.*Invalid IPv6"),
        ('{"a": {"urls": ["x"], "filename": "../x"}}', r"bad filename='\.\./x'"),
        ('{"a": {"urls": ["x"], "filename": 5}}', "bad filename=5"),
        ('{"a": {"urls": ["x"], "readme": 5}}', "bad readme=5"),
        ('{"a": {"urls": ["x"], "md5": "../../x"}}', r"bad md5='\.\./\.\./x'"),
        ('{"a": {"urls": ["x"], "size": "big"}}', "bad size='big'"),
        ('{"a": {"urls": ["x"], "documents": true}}', "bad documents=True"),
        ('{"a": {"urls": ["x"], "jpq": []}}', r"bad jpq=\[\]"),
        ('{"a": {"urls": ["x"], "jpq": {"m": "x"}}}', "bad jpq.m='x'"),
        ('{"a": {"urls": ["x"], "jpq": {"expected": {"q": {"RR": "high"}}}}}', "bad jpq.expected.q.RR='high'"),
        ('{"a": {"urls": ["x"], "jpq": {"kind": "release"}}}', "needs urls and jpq.encoder.urls"),
        ('{"a": {"hub": "no repository"}}', "bad hub='no repository'"),
        ("[" * 100_000, "is no JSON"),
        ('{"a": {"urls": ["x"], "size": ' + "9" * 5000 + "}}", "is no JSON"),
    ],
)
def test_bad_catalogues_end_in_one_line(tmp_path, monkeypatch, text, reason):
    (tmp_path / "bad.json").write_text(text)
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path / "bad.json"))
    with pytest.raises(JPQError, match=reason) as caught:
        load_entries()
    assert str(tmp_path / "bad.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["none.json", "empty"])
def test_missing_catalogue(tmp_path, monkeypatch, missing):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path / missing))
    with pytest.raises(JPQError, match=f"{missing}.* JPQ_PREBUILT"):
        load_entries()


def test_near_matches():
    with pytest.raises(JPQError, match=r"'msmarco-passage\.jpq-m96'.*did you mean msmarco-v1-passage\.jpq-m96"):
        find("msmarco-passage.jpq-m96")
    with pytest.raises(JPQError, match=r"did you mean .*m48"):
        find("m48")
    with pytest.raises(JPQError, match="nothing has a similar name"):
        find("zzz")


def test_names_in_the_cache_are_pyserinis():
    """Stock 1.6 and 2.x look for FILENAME-without-.tar.gz.MD5."""
    assert Entry.from_json("a", ENTRY, "here").stem == "x." + "0" * 32
    assert find("msmarco-v1-doc.jpq-m16").stem == "msmarco-v1-doc.jpq-m16.imported"


def test_paths(tmp_path, monkeypatch):
    assert cache_home() == tmp_path / "cache"
    monkeypatch.delenv("PYSERINI_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache" / "pyserini"
    assert local_path("file:///a%20b").as_posix() == "/a b"
    assert local_path("a/b").as_posix() == "a/b"
    assert local_path("https://example.org/a") is None
