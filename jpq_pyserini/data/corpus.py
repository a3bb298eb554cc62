"""Documents to encode, read one line at a time: Pyserini's JsonCollection, and collections as they are published."""

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jpq_pyserini.data.docids import is_docid
from jpq_pyserini.data.lines import PACKED, quoted, text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import JSONError, parse_json
from jpq_pyserini.resume import fingerprint

_LISTS = (".json", *(f".json{packed}" for packed in PACKED))  # that need not be of lines
_SUFFIXES = (".jsonl", *(f".jsonl{packed}" for packed in PACKED), *_LISTS)
_OTHERS = (".tsv", *PACKED)  # read where there are none of these
_IDS = ("id", "_id", "docid", "doc_id")
_PASSAGE_IDS = ("pid", *_IDS)
_COLUMNS = {2: ("id", "contents"), 4: ("id", "url", "title", "text")}  # of MS MARCO's passages and documents
_FIELDS_SHOWN = 8  # in a message


class Fields(NamedTuple):
    """The names of the fields that are the docid and the text; None and empty for the usual ones."""

    docid: str | None = None
    text: tuple[str, ...] = ()


USUAL = Fields()


class Corpus:
    """A JSON-lines file, or a folder of them (``.jsonl``, ``.json``, either packed), in the order of their paths.

    A line is ``{"id": …, "contents": …}``; ``_id``, ``docid`` and ``doc_id`` are taken for ``id``. Without
    ``contents``, ``title`` and ``text`` are joined by a newline (BEIR), ``passage`` is the text and ``pid`` the id, or
    ``title``, ``headings`` and ``body`` or ``segment`` are joined (MS MARCO v2). A file may
    also be a list of such objects or, if its name ends with ``.json`` as in Anserini's JsonCollection, one of them.
    Folders in the folder are read.

    Lines with tabs are read, too: MS MARCO's ``collection.tsv`` (id, text) and documents (id, URL, title, body), and
    files whose first line names the columns. A folder without JSON files is read for ``.tsv`` and packed files.

    Args:
        path: the file or folder, or a pattern of several files, such as ``part-*.jsonl``.
        id_field: the field with the docid, if it has another name.
        text_fields: the fields that are the text, joined by newlines, if they have other names.

    Raises:
        JPQError: there is no such file or folder, or nothing to read in it; later, while reading, a line that is no
            such document.
    """

    def __init__(self, path: str | os.PathLike, id_field: str | None = None, text_fields: Sequence[str] | None = None):
        self.path, self.names = Path(path), Fields(id_field, tuple(text_fields or ()))
        if os.fspath(path) and self.path.is_dir():
            files = sorted(each for each in self.path.rglob("*") if each.name.endswith((*_SUFFIXES, *_OTHERS)))
            self.files = [each for each in files if each.name.endswith(_SUFFIXES)] or files
        elif self.path.is_file():
            self.files = [self.path]
        elif glob.has_magic(os.fspath(path)):
            self.files = sorted(each for each in map(Path, glob.glob(os.fspath(path))) if each.is_file())
            if not self.files:
                raise JPQError(f"no file is named like {path}: name the files of the collection, or its folder")
        else:
            raise JPQError(
                f"{path or repr('')} is no file or folder: name a JSON-lines collection (.jsonl, .json, .gz)"
            )
        if not self.files:
            raise JPQError(
                f"{path} holds no file that ends with .jsonl or .json, packed or not: name the collection's folder"
            )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield ``(docid, text)`` in order."""
        return ((docid, text) for docid, text, _ in self.with_places())

    def with_places(self) -> Iterator[tuple[str, str, str]]:
        """Yield ``(docid, text, place)`` in order; the place, a file and a line, is for messages."""
        for place, fields in self.records():
            yield *document_in(fields, place, self.names), place

    def records(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(place, JSON value)`` of each document in order, whatever it holds."""
        return (record for file in self.files for record in records_of(file))

    def fingerprint(self) -> str | list | None:
        """Tell this corpus from others, wherever it is."""
        if self.path.exists():
            return fingerprint(self.path)
        return [[file.name, fingerprint(file)] for file in self.files]

    def docids(self) -> list[str]:
        """Read every line and return the docids in order; :class:`JPQError` if there is none."""
        docids = [docid for docid, _ in self]
        if not docids:
            raise JPQError(f"{self.path} holds no documents: its lines should be like" + _EXAMPLE)
        return docids


_V2 = ("title", "headings")
_TEXTS = (("contents",), ("title", "text"), ("passage",), (*_V2, "body"), (*_V2, "segment"))
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
    if not is_of_lines(path):
        with contextlib.suppress(JSONError):
            whole = parse_json("\n".join(line for _, line in text_lines(path)))
            for number, record in enumerate((whole if isinstance(whole, list) else [whole])[skip:], skip + 1):
                yield f"{path} object {number}", record
            return
    columns, named = columns_of_tsv(path)
    written = ((number, line) for number, line in text_lines(path, byte, lines) if line.strip())
    for number, line in itertools.islice(written, skip + (named and not byte), None):
        place = f"{path} line {number}"
        yield place, _row(line.split("\t"), columns, place) if columns else _parsed(line, place)


def columns_of_tsv(path: Path) -> tuple[Sequence[str], bool]:
    """Return the names of the columns of a file with tabs, and whether its first line holds them; none of JSON's.

    Raises:
        JPQError: the first line names no columns, and there are not as many as MS MARCO's files have.
    """
    first = next((line for _, line in text_lines(path) if line.strip()), "")
    if "\t" not in first or first.lstrip()[:1] in "{[":
        return (), False
    columns = first.split("\t")
    if columns[0] in _PASSAGE_IDS:
        return columns, True
    if len(columns) not in _COLUMNS:
        raise JPQError(f"{path} has {len(columns)} columns: name them in a first line, like id, title, text, with tabs")
    return _COLUMNS[len(columns)], False


def _row(values: list[str], columns: Sequence[str], place: str) -> dict[str, str]:
    if len(values) != len(columns):
        raise JPQError(f"{place} has {len(values)} columns, {len(columns)} expected: {', '.join(columns)}, with tabs")
    return dict(zip(columns, values, strict=True))


def is_of_lines(path: Path) -> bool:
    """Tell whether a line holds a document: no JSON list, and of a ``.json`` file the first line is a whole object."""
    first = next((line.strip() for _, line in text_lines(path) if line.strip()), "")
    if not path.name.endswith(_LISTS):
        return not first.startswith("[")
    with contextlib.suppress(JSONError):
        return isinstance(parse_json(first), dict)
    return False


def _parsed(line: str, place: str):
    try:
        return parse_json(line)
    except JSONError as error:
        raise JPQError(f"{place} is no JSON ({error}): a line holds one whole document, like{_EXAMPLE}") from None


def docid_of(fields, place: str, name: str | None = None) -> str:
    """Return the docid of a JSON value; :class:`JPQError` that names ``place`` if it is no object with a usable one."""
    if not isinstance(fields, dict):
        raise JPQError(f"{place} is a JSON {type(fields).__name__}, not an object: write a document a line{_EXAMPLE}")
    names = (name,) if name else _PASSAGE_IDS if "passage" in fields else _IDS
    found = next((fields[name] for name in names if fields.get(name) is not None), None)
    if found is None:
        raise JPQError(f"{place} has no {' or '.join(names)}, but {_listed(fields)}: name its docid with --id-field")
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise JPQError(f"{place} has the id {quoted(str(found))}: an id is a text or a whole number")
    docid = str(found)
    if not is_docid(docid):
        raise JPQError(
            f"{place} has the id {quoted(docid)}: give each document an id without blanks and control "
            "characters, which would break run files"
        )
    return docid


def document_in(fields, place: str, names: Fields = USUAL) -> tuple[str, str]:
    """Return ``(docid, text)`` of a JSON value; :class:`JPQError` that names ``place`` if it is no such document."""
    docid = docid_of(fields, place, names.docid)
    wanted = names.text or next((each for each in _TEXTS if isinstance(fields.get(each[-1]), str)), ("contents",))
    parts = [fields[name] for name in wanted if isinstance(fields.get(name), str) and fields[name]]
    text = "\n".join(parts) if len(wanted) > 1 or names.text else fields.get(wanted[0])
    missing = [name for name in names.text if name not in fields]
    if missing or not isinstance(text, str) or not _is_text(text):
        where = " and ".join(map(repr, missing or wanted))
        raise JPQError(
            f"{place}, document {docid}, has no text in {where}, but {_listed(fields)}: name the fields that are the "
            "text, strings of valid Unicode, with --text-fields"
        )
    return docid, text


def _listed(fields: dict) -> str:
    return f"the fields {', '.join(map(repr, list(fields)[:_FIELDS_SHOWN]))}"


def _is_text(value: str) -> bool:
    """False when a JSON escape has smuggled half a surrogate pair in, which no file and no tokenizer takes."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
