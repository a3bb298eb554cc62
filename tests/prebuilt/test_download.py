"""Downloads from a real server that cuts, lies and fails."""

import hashlib
import shutil

import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.prebuilt import download as module
from jpq_pyserini.prebuilt.checks import FileCheck
from jpq_pyserini.prebuilt.download import download, read_small

from helpers.faulty_server import faulty_server

BODY = hashlib.shake_256(b"an index").digest(300_000)
KNOWN = FileCheck(len(BODY), hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest())
DIGEST_ONLY = FileCheck(sha256=hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with faulty_server() as faulty:
        faulty.files = {"/a": BODY, "/b": BODY, "/wrong": BODY[:-1] + b"!", "/longer": BODY + b"more"}
        yield faulty


def fetch(server, tmp_path, *paths, expected=KNOWN, **options):
    urls = [path if "://" in path else server.url + path for path in paths]
    return download(urls, tmp_path / "file", expected, progress=False, **options)


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_whole_file(server, tmp_path):
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY
    assert left(tmp_path) == ["file"]


@pytest.mark.parametrize("expected", [KNOWN, DIGEST_ONLY], ids=["all known", "no size"])
def test_resumed_after_cuts(server, tmp_path, expected):
    server.faults["/a"] = [("cut", 100_000), ("cut", 70_000)]
    assert fetch(server, tmp_path, "/a", expected=expected).read_bytes() == BODY
    assert server.requests == [("/a", None), ("/a", "bytes=100000-"), ("/a", "bytes=170000-")]


def test_resumed_by_the_next_call(server, tmp_path):
    server.faults["/a"] = [("cut", 50_000), ("cut", 0), ("cut", 0), ("cut", 0)]
    with pytest.raises(JPQError, match=r"ended after 50,000 of 300,000 bytes, 3 times without progress"):
        fetch(server, tmp_path, "/a")
    assert left(tmp_path) == ["file.partial"]
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY
    assert server.requests[-1] == ("/a", "bytes=50000-")


def test_other_url_goes_on_where_the_first_failed(server, tmp_path):
    server.faults["/a"] = [("cut", 60_000), 404]
    assert fetch(server, tmp_path, "/a", "/b").read_bytes() == BODY
    assert server.requests[-1] == ("/b", "bytes=60000-")


@pytest.mark.parametrize("fault", ["whole", 416])
def test_server_without_ranges(server, tmp_path, fault):
    server.faults["/a"] = [("cut", 100_000), fault]
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY


def test_half_of_another_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(b"x" * 1000)
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize(
    ("path", "faults", "expected", "reason"),
    [
        ("/none", [], KNOWN, "404 Not Found"),
        ("/a", [503, 503, 503], KNOWN, "503 Service Unavailable, 3 times"),
        ("/wrong", [], KNOWN, "its md5 is [0-9a-f]{32} instead of"),
        ("/wrong", [], DIGEST_ONLY, "its sha256 is"),
        ("/longer", [], KNOWN, "announces 300,004 bytes, the catalogue says 300,000"),
        ("/a", [("announce", 200)], KNOWN, "announces 200 bytes, the catalogue says 300,000"),
        ("/wrong", [("announce", 400_000), "…"], DIGEST_ONLY, "ended after 300,000 of 400,000 bytes"),
        ("/a", [("announce", 1000)], DIGEST_ONLY, "its sha256 is"),
        ("/a", [("more", b"too much")], KNOWN, "sends more than 300,000 bytes"),
        ("/a", [("sleep", 1.0), "…"], KNOWN, "timed out, 3 times"),
    ],
)
def test_next_url_after_any_failure(server, tmp_path, path, faults, expected, reason):
    server.faults[path] = list(faults)
    timeout = {"timeout": 0.2} if "timed out" in reason else {}
    with pytest.raises(JPQError, match=reason) as caught:
        fetch(server, tmp_path, path, expected=expected, **timeout)
    assert str(caught.value).count("\n") == 0
    assert server.url + path in str(caught.value)
    assert "file" not in left(tmp_path)
    server.faults[path] = list(faults)
    assert fetch(server, tmp_path, path, "/b", expected=expected, **timeout).read_bytes() == BODY
    assert left(tmp_path) == ["file"]


def test_digest_outweighs_the_announced_length(server, tmp_path):
    server.faults["/a"] = [("announce", 400_000), "…"]
    assert fetch(server, tmp_path, "/a", expected=DIGEST_ONLY).read_bytes() == BODY


def test_all_reasons_are_named(server, tmp_path):
    with pytest.raises(JPQError) as caught:
        fetch(server, tmp_path, "/none", "/wrong", "http://127.0.0.1:9/refused", "ftp://127.0.0.1/file")
    message = str(caught.value)
    for reason in ("404 Not Found", "md5", "refused", "'ftp' is not supported"):
        assert reason in message


def test_without_digest_nothing_is_resumed(server, tmp_path):
    size_only = FileCheck(len(BODY), magic=(BODY[:4],))
    (tmp_path / "file.partial").write_bytes(BODY[:1000])
    server.faults["/a"] = [("cut", 1000)]
    assert fetch(server, tmp_path, "/a", expected=size_only).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, None]


@pytest.mark.parametrize("fault", [("range", "bytes 7-299999/300000"), ("range", None)])
def test_another_range_than_was_asked_for(server, tmp_path, fault):
    (tmp_path / "file.partial").write_bytes(BODY[:1000])
    server.faults["/a"] = [fault]
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "url", ["http://[", "http://a..b/x", f"http://{'a' * 300}/x", "http://127.0.0.1:9/名", "http://a\0b/"]
)
def test_urls_that_cannot_be_parsed(server, tmp_path, url):
    server.faults["/moved"] = [("moved", url)]
    for named in (url, "/moved"):
        with pytest.raises(JPQError, match="could not download file") as caught:
            fetch(server, tmp_path, named)
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()
    with pytest.raises(JPQError):
        read_small(url)


def test_slow_servers_are_given_up(server, tmp_path):
    server.faults["/a"] = [("drip", 0.02), "…"]
    with pytest.raises(JPQError, match="bytes a second, which would take too long"):
        fetch(server, tmp_path, "/a", timeout=0.3)
    assert 0 < (tmp_path / "file.partial").stat().st_size < 1000
    assert fetch(server, tmp_path, "/a", "/b", timeout=0.3).read_bytes() == BODY
    with pytest.raises(JPQError, match="bytes a second"):
        read_small(f"{server.url}/a", timeout=0.3)


def test_what_a_server_says_does_not_drive_the_terminal(server, tmp_path):
    server.faults["/a"] = [("says", "\x1b[31mred\x1b[0m")]
    with pytest.raises(JPQError, match=r"403 .\[31mred") as caught:
        fetch(server, tmp_path, "/a")
    assert str(caught.value).isprintable()


def test_space_for_unpacking_is_asked_for_first(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 400_000))
    with pytest.raises(JPQError, match=r"300,000 bytes are to come and 100,001 to be unpacked, 400,000 are free"):
        fetch(server, tmp_path, "/a", spare=100_001)
    assert fetch(server, tmp_path, "/a", spare=100_000).read_bytes() == BODY


def test_what_is_there_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY
    assert server.requests == []
    (tmp_path / "file").write_bytes(BODY[1:])
    assert fetch(server, tmp_path, "/a").read_bytes() == BODY


def test_empty_file(server, tmp_path):
    server.files["/empty"] = b""
    assert fetch(server, tmp_path, "/empty", expected=FileCheck(0)).read_bytes() == b""


def test_web_page_in_place_of_the_file(server, tmp_path):
    server.files["/page"] = b"<!DOCTYPE html><html>Sign in</html>"
    with pytest.raises(JPQError, match="perhaps a web page"):
        fetch(server, tmp_path, "/page", expected=FileCheck(magic=(b"IxPT",)))
    assert left(tmp_path) == []


def test_files_of_this_machine(tmp_path):
    source = tmp_path / "a source"
    source.write_bytes(BODY)
    assert fetch(None, tmp_path, (tmp_path / "none").as_uri(), source.as_uri()).read_bytes() == BODY
    (tmp_path / "file").unlink()
    with pytest.raises(JPQError, match="No such file"):
        fetch(None, tmp_path, (tmp_path / "none").as_uri())


def test_full_disk_is_one_line_and_no_other_url(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(JPQError, match=r"no space left in .* \(300,000 bytes are to come, 0 are free\): free some"):
        fetch(server, tmp_path, "/a", "/b")
    assert server.requests == [("/a", None)]


def test_dropbox_is_asked_for_the_file():
    assert (
        module._direct("https://www.dropbox.com/s/x/m96.tar.gz?dl=0") == "https://www.dropbox.com/s/x/m96.tar.gz?dl=1"
    )
    assert module._direct("https://example.org/m96.tar.gz?dl=0") == "https://example.org/m96.tar.gz?dl=0"


def test_small_files(server):
    server.files["/small"] = b"{}"
    assert read_small(f"{server.url}/small") == "{}"
    server.faults["/small"] = [("cut", 1)]
    with pytest.raises(JPQError, match="/small: 1 bytes came, 2 were announced"):
        read_small(f"{server.url}/small")
    with pytest.raises(JPQError, match="/none: 404 Not Found"):
        read_small(f"{server.url}/none")
