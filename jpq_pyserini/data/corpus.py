"""Documents to encode: Pyserini's JsonCollection, read one line at a time."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jpq_pyserini.data.docids import is_docid
from jpq_pyserini.data.lines import quoted, text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import JSONError, parse_json

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")


class Corpus:
    """A JSON-lines file, or a folder of them (``.jsonl``, ``.json``, either with ``.gz``), in the order of their paths.

    A line is ``{"id": …, "contents": …}``; as Pyserini does, ``_id`` and ``docid`` are taken for ``id``. Without
    ``contents``, ``title`` and ``text`` are joined by a newline. As in Anserini's JsonCollection, a ``.json`` file may
    also be one such object or a list of them, and folders in the folder are read.

    Raises:
        JPQError: there is no such file or folder, or nothing to read in it; later, while reading, a line that is no
            such document.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if os.fspath(path) and self.path.is_dir():
            self.files = sorted(each for each in self.path.rglob("*") if each.name.endswith(_SUFFIXES))
        elif self.path.is_file():
            self.files = [self.path]
        else:
            raise JPQError(
                f"{path or repr('')} is no file or folder: name a JSON-lines collection ({', '.join(_SUFFIXES)})"
            )
        if not self.files:
            raise JPQError(f"{path} holds no file that ends with {', '.join(_SUFFIXES)}: name the collection's folder")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield ``(docid, text)`` in order."""
        return ((docid, text) for docid, text, _ in self.with_places())

    def with_places(self) -> Iterator[tuple[str, str, str]]:
        """Yield ``(docid, text, place)`` in order; the place, a file and a line, is for messages."""
        for place, fields in self.records():
            yield *document_in(fields, place), place

    def records(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(place, JSON value)`` of each document in order, whatever it holds."""
        return (record for file in self.files for record in records_of(file))

    def docids(self) -> list[str]:
        """Read every line and return the docids in order; :class:`JPQError` if there is none."""
        docids = [docid for docid, _ in self]
        if not docids:
            raise JPQError(f"{self.path} holds no documents: its lines should be like" + _EXAMPLE)
        return docids


_EXAMPLE = ' {"id": "doc1", "contents": "text"}'


def document_of(line: str, place: str) -> tuple[str, str]:
    """Return ``(docid, text)`` of one JSON line; :class:`JPQError` that names ``place`` if it is no such document."""
    return document_in(_parsed(line, place), place)


def records_of(path: Path, skip: int = 0, byte: int = 0, lines: int = 0) -> Iterator[tuple[str, object]]:
    """Yield (place, JSON value) of each line, or of each object of a ``.json`` file that is not one of lines.

    Args:
        path: the file.
        skip: records that are passed over unparsed.
        byte: where in the file to begin, at the start of a line.
        lines: how many lines are before that.
    """
    if path.name.endswith((".json", ".json.gz")) and not _starts_with_object(path):
        with contextlib.suppress(JSONError):
            whole = parse_json("\n".join(line for _, line in text_lines(path)))
            for number, record in enumerate((whole if isinstance(whole, list) else [whole])[skip:], skip + 1):
                yield f"{path} object {number}", record
            return
    written = ((number, line) for number, line in text_lines(path, byte, lines) if line.strip())
    for number, line in itertools.islice(written, skip, None):
        place = f"{path} line {number}"
        yield place, _parsed(line, place)


def _starts_with_object(path: Path) -> bool:
    """Tell whether the first line that is not blank is a whole object: the file is one of lines."""
    first = next((line for _, line in text_lines(path) if line.strip()), "")
    with contextlib.suppress(JSONError):
        return isinstance(parse_json(first), dict)
    return False


def _parsed(line: str, place: str):
    try:
        return parse_json(line)
    except JSONError as error:
        raise JPQError(f"{place} is no JSON ({error}): a line holds one whole document, like{_EXAMPLE}") from None


def docid_of(fields, place: str) -> str:
    """Return the docid of a JSON value; :class:`JPQError` that names ``place`` if it is no object with a usable one."""
    if not isinstance(fields, dict):
        raise JPQError(f"{place} is a JSON {type(fields).__name__}, not an object: write a document a line{_EXAMPLE}")
    docid = next((fields[name] for name in ("id", "_id", "docid") if fields.get(name) is not None), None)
    docid = str(docid) if isinstance(docid, str | int) and not isinstance(docid, bool) else ""
    if not is_docid(docid) or len(docid.splitlines()) > 1 or docid != docid.strip() or not _is_text(docid):
        raise JPQError(
            f"{place} has the id {quoted(docid)}: give each document an id without blanks and control characters, "
            "which would break run files"
        )
    return docid


def document_in(fields, place: str) -> tuple[str, str]:
    """Return ``(docid, text)`` of a JSON value; :class:`JPQError` that names ``place`` if it is no such document."""
    docid = docid_of(fields, place)
    text = fields.get("contents")
    if text is None and isinstance(fields.get("text"), str):
        text = "\n".join(part for part in (fields.get("title"), fields["text"]) if isinstance(part, str) and part)
    if not isinstance(text, str) or not _is_text(text):
        raise JPQError(f"{place}, document {docid}, has no text in 'contents': add it, as a string of valid Unicode")
    return docid, text


def _is_text(value: str) -> bool:
    """False when a JSON escape has smuggled half a surrogate pair in, which no file and no tokenizer takes."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
