"""Docids that are not held as Python strings: the mapped file, several as one, and who comes twice."""

import pytest

from jpq_pyserini import JPQError
from jpq_pyserini.data import docids as module
from jpq_pyserini.data.docids import Docids, JoinedDocids, RowsByDocid, first_repeated


class Clash(str):
    """A docid whose hash is that of every other."""

    def __hash__(self):
        return 7


def test_docids_file(tmp_path):
    for text in ("a\nbé \nc\t\n", "a\nb\nlast", "", "\n\nx\n"):
        (tmp_path / "docid").write_text(text, encoding="utf-8")
        docids = Docids(tmp_path / "docid")
        assert list(docids) == [line.rstrip() for line in text.splitlines(keepends=True)]
        assert len(docids) == len(text.splitlines())
    assert docids[-1] == "x"
    assert docids[1:] == ["", "x"]
    with pytest.raises(IndexError, match="row 3 of 3"):
        docids[3]
    (tmp_path / "docid").write_bytes(b"a\n\xff\n")
    with pytest.raises(JPQError, match=r"not UTF-8 text.*line 2"):
        Docids(tmp_path / "docid")[1]
    with pytest.raises(JPQError, match="none is missing"):
        Docids(tmp_path / "none")


def test_docids_cost_less_than_their_codes(tmp_path):
    (tmp_path / "docid").write_text("".join(f"{i}\n" for i in range(200_000)))
    import tracemalloc

    tracemalloc.start()
    docids = Docids(tmp_path / "docid")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 6 * len(docids)
    assert docids[123_456] == "123456"


def test_a_bad_byte_is_told_when_the_file_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)  # so that characters lie across chunks
    text = "é\nüü\n日本\n\nlast"
    (tmp_path / "docid").write_text(text, encoding="utf-8")
    assert list(Docids(tmp_path / "docid")) == text.split("\n")
    for row, bad in enumerate((b"\xff\n\xc3\xbc\n", b"\xc3\xbc\n\xff\n", b"a\nb\n\xe6\x97\n", b"a\nb\nc\n\xe6\x97"), 1):
        (tmp_path / "docid").write_bytes(bad)
        with pytest.raises(JPQError, match=f"not UTF-8 text .* in line {row}\\)"):
            Docids(tmp_path / "docid")


@pytest.mark.parametrize("count", [0, 1, 5, 9, 40])
def test_docids_are_a_sequence_like_a_list(tmp_path, monkeypatch, count):
    monkeypatch.setattr(module, "_ROWS", 4)
    names = [f"d{7 * i}é" for i in range(count)]
    (tmp_path / "docid").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    mapped = Docids(tmp_path / "docid")
    joined = JoinedDocids([mapped, [], ("x", "y"), mapped])
    for found, wanted in ((mapped, names), (joined, [*names, "x", "y", *names])):
        assert list(found) == wanted
        assert [found[row] for row in range(-len(wanted), len(wanted))] == wanted * 2
        assert found[1:-1:2] == wanted[1:-1:2]
        assert found == wanted
        assert wanted == found
        assert found != [*wanted, "more"]
        assert found != [*wanted[:-1], "other"]
        assert found != "text"
        with pytest.raises(IndexError):
            found[len(wanted)]


def test_the_first_that_comes_again_is_found():
    assert first_repeated(["a", "b", "c"]) is None
    assert first_repeated([]) is None
    assert first_repeated(["a", "b", "c", "b", "a", "b"]) == (1, 3)
    many = [f"d{i}" for i in range(1000)]
    assert first_repeated(JoinedDocids([many, many])) == (0, 1000)
    assert first_repeated([Clash(name) for name in "abcd"]) is None
    assert first_repeated([Clash(name) for name in "abcdba"]) == (1, 4)


def test_rows_by_docid():
    docids = ["a", "b", "c"]
    rows = RowsByDocid(docids, place="here")
    assert [rows[docid] for docid in docids] == [0, 1, 2]
    assert "d" not in rows
    assert (len(rows), list(rows)) == (3, docids)
    with pytest.raises(JPQError, match="here: 1 docids occur twice, b for one"):
        RowsByDocid(["a", "b", "c", "b"], place="here")
    clashing = [Clash("x"), Clash("y"), Clash("z")]
    assert [RowsByDocid(clashing, place="here")[docid] for docid in clashing] == [0, 1, 2]
    with pytest.raises(KeyError):
        RowsByDocid(clashing, place="here")[Clash("w")]
    assert len(RowsByDocid([], place="here")) == 0
