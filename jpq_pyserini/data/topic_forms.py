"""Topics in the forms in which they are published, told by what a file holds and not by its name."""

import contextlib
import csv
import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from jpq_pyserini.data.lines import opened, quoted, text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import JSONError, parse_json

_IDS = ("_id", "id", "qid", "query_id", "query-id", "topic_id", "number", "num")
_TEXTS = ("text", "title", "query", "question", "contents")
_LIKE = '{"_id": "1", "text": "query"}'
_XML_TEXTS = ("query", "title", "text", "question", "summary", "description")
_TREC_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)", re.IGNORECASE)
_TREC_TITLE = re.compile(r"<title>\s*(?:Topic:)?\s*([^<]*)", re.IGNORECASE)


class Topic(NamedTuple):
    """One query, as it stands in the file."""

    qid: str
    text: object
    place: str


def published_topics(path: str) -> Iterator[Topic] | None:
    """Return the topics of a file of JSON lines, a JSON list, CSV, TREC topics or XML; None if it is none of these.

    JSON objects have one of ``_id``, ``id``, ``qid``, ``query_id`` and one of ``text``, ``title``, ``query``,
    ``question``, ``contents``; lines with ``id`` and ``title`` in a ``.jsonl`` file are Pyserini's to read. CSV has a
    header with such names, or the file is called .csv; such a header may also have tabs. Of TREC topics the title is
    taken, of XML the child ``query``, ``title``, ``text``, ``question``, ``summary`` or ``description``, else the text.
    """
    first = next((line.strip() for _, line in text_lines(path) if line.strip()), "")
    if first.startswith("{"):
        fields = _object(first)
        if fields is None or not _named(fields, _IDS) or not _named(fields, _TEXTS):
            return None
        theirs = path.endswith(".jsonl") and {"id", "title"} <= fields.keys() and "_id" not in fields
        return None if theirs else _json_lines(path)
    if first.startswith("[") and "\t" not in first:
        return _json_list(path)
    if first.startswith("<"):
        text = "\n".join(line for _, line in text_lines(path))
        return _trec(text, path) if re.search(r"<top>", text, re.IGNORECASE) else _xml(path)
    delimiter = "\t" if "\t" in first else ","
    header = next(csv.reader([first], delimiter=delimiter), [])
    if _named(header, _IDS) and _named(header, _TEXTS):
        return _csv(path, header, delimiter)
    if path.endswith((".csv", ".csv.gz")) and delimiter == "," and len(header) > 1:
        return _csv(path, None, delimiter)
    return None


def is_json_object(path: str) -> bool:
    """Whether the first thing in a file is an opening brace."""
    return next((line.strip() for _, line in text_lines(path) if line.strip()), "").startswith("{")


def has_columns(path: str) -> bool:
    """Whether the first line of a file that is not blank has a tab."""
    return "\t" in next((line for _, line in text_lines(path) if line.strip()), "")


def _named(fields, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in fields), None)


def _object(line: str) -> dict | None:
    with contextlib.suppress(JSONError):
        value = parse_json(line)
        return value if isinstance(value, dict) else None
    return None


def _json_lines(path: str) -> Iterator[Topic]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        yield _of_object(_object(line), f"{path}:{number}", line)


def _json_list(path: str) -> Iterator[Topic]:
    try:
        listed = parse_json("\n".join(line for _, line in text_lines(path)))
    except JSONError as error:
        raise JPQError(f"{path}: not JSON ({error}): topics may be a list of objects like {_LIKE}") from None
    for number, fields in enumerate(listed, 1):
        yield _of_object(fields, f"{path}, object {number}", str(fields))


def _of_object(fields, place: str, written: str) -> Topic:
    qid, text = (_named(fields, names) if isinstance(fields, dict) else None for names in (_IDS, _TEXTS))
    if qid is None or text is None:
        raise JPQError(f"{place}: {quoted(written)} is not like {_LIKE}")
    return Topic(str(fields[qid]), fields[text], place)


def _csv(path: str, header: list[str] | None, delimiter: str) -> Iterator[Topic]:
    lines = (line + "\n" for _, line in text_lines(path))
    if delimiter == "\t":
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, delimiter=delimiter)
    qid, text = 0, 1
    if header is not None:
        next(rows)
        qid, text = header.index(_named(header, _IDS) or ""), header.index(_named(header, _TEXTS) or "")
    for row in rows:
        if not row:
            continue
        if len(row) <= max(qid, text):
            raise JPQError(f"{path}:{rows.line_num}: {len(row)} columns, no query in column {text + 1}")
        yield Topic(row[qid].strip(), row[text].strip(), f"{path}:{rows.line_num}")


def _trec(text: str, path: str) -> Iterator[Topic]:
    for count, topic in enumerate(re.split(r"<top>", text, flags=re.IGNORECASE)[1:], 1):
        number, title = _TREC_NUMBER.search(topic), _TREC_TITLE.search(topic)
        if number is None or title is None:
            raise JPQError(f"{path}: topic {count} has no <num> or no <title>: the title is the query")
        yield Topic(number[1], " ".join(title[1].split()), f"{path}, topic {count}")


def _xml(path: str) -> Iterator[Topic]:
    try:
        with opened(path) as file:
            root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise JPQError(f"{path} is no well-formed XML ({error}): topics are <topic number=…><query>…") from None
    for count, (qid, topic) in enumerate(_elements(root), 1):
        children = {child.tag.lower(): child.text or "" for child in topic}
        wanted = next((children[tag] for tag in _XML_TEXTS if tag in children), topic.text)
        yield Topic(qid.strip(), " ".join((wanted or "").split()), f"{path}, topic {count}")


def _elements(parent: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield the elements with a number, and that; not those within them, such as subtopics."""
    for element in parent:
        children = {child.tag.lower(): child.text or "" for child in element}
        name = _named(element.attrib, _IDS)
        own = element.attrib[name] if name else children.get(_named(children, _IDS) or "")
        if own is None:
            yield from _elements(element)
        else:
            yield own, element
