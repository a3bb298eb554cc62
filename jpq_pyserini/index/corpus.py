"""Documents to encode: Pyserini's JsonCollection, read one line at a time."""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from jpq_pyserini.errors import JPQError

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")


class Corpus:
    """A JSON-lines file, or a folder of them (``.jsonl``, ``.json``, either with ``.gz``), in the order of their names.

    A line is ``{"id": …, "contents": …}``; as Pyserini does, ``_id`` and ``docid`` are taken for ``id``. Without
    ``contents``, ``title`` and ``text`` are joined by a newline.

    Raises:
        JPQError: there is no such file or folder, or nothing to read in it; later, while reading, a line that is no
            such document.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if self.path.is_dir():
            self.files = sorted(each for each in self.path.iterdir() if each.name.endswith(_SUFFIXES))
        elif self.path.is_file():
            self.files = [self.path]
        else:
            raise JPQError(f"{path} is no file or folder: name a JSON-lines collection ({', '.join(_SUFFIXES)})")
        if not self.files:
            raise JPQError(f"{path} holds no file that ends with {', '.join(_SUFFIXES)}: name the collection's folder")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield ``(docid, text)`` in order."""
        for file in self.files:
            for number, line in enumerate(_lines(file), 1):
                if line.strip():
                    yield document_of(line, f"{file} line {number}")

    def docids(self) -> list[str]:
        """Read every line and return the docids in order; :class:`JPQError` if there is none."""
        docids = [docid for docid, _ in self]
        if not docids:
            raise JPQError(f"{self.path} holds no documents: its lines should be like" + _EXAMPLE)
        return docids

    def fingerprint(self) -> list:
        """Name, size and time of change of every file: what must be the same for a stopped run to go on."""
        return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in self.files]


_EXAMPLE = ' {"id": "doc1", "contents": "text"}'


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        try:
            yield from file
        except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else error
            raise JPQError(f"{path} is damaged or no UTF-8 text ({reason}): copy or convert it again") from None


def document_of(line: str, place: str) -> tuple[str, str]:
    """Return ``(docid, text)`` of one JSON line; :class:`JPQError` that names ``place`` if it is no such document."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise JPQError(f"{place} is no JSON ({error.msg}): a line holds one whole document, like{_EXAMPLE}") from None
    if not isinstance(fields, dict):
        raise JPQError(f"{place} is a JSON {type(fields).__name__}, not an object: write a document a line{_EXAMPLE}")
    docid = next((fields[name] for name in ("id", "_id", "docid") if fields.get(name) is not None), None)
    docid = str(docid) if isinstance(docid, str | int) else ""
    if not docid or docid != docid.strip() or len(docid.splitlines()) > 1 or not _is_text(docid):
        raise JPQError(f"{place} has the id {docid!r}: give each document an id of one line, without spaces around it")
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
