"""Topics and qrels as Pyserini reads them, and the pairs of them that a training can use.

Pyserini is imported inside the functions and only when a file needs its Java: plain TSV topics and qrels files do not.
"""

import contextlib
import csv
import difflib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jpq_pyserini.data.docids import is_docid
from jpq_pyserini.data.lines import columns_of, is_comment, quoted, text_lines
from jpq_pyserini.data.topic_forms import Topic, has_columns, is_json_object, published_topics
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import JSONError, parse_json

logger = logging.getLogger(__name__)

_PLAIN_TOPICS = (".tsv", ".tsv.gz", ".txt", ".txt.gz")
_FILE_NAME = re.compile(r"[/\\]|\.(tsv|txt|jsonl?|trec|csv|gz)$")
_JAVA_BLANKS = "".join(map(chr, range(33)))  # what Java's String.trim removes; Python's strip() takes more
_LONGEST_NUMBER = 4000  # digits; Python reads no longer integers
_JSON_FORM = '{"qid": {"title": "query text"}, …}'
_QRELS_HEADERS = ("query-id", "query_id", "qid", "topic")  # names of a first column, at the top of published qrels
_QRELS_FORM = "qrels lines are 'qid 0 docid relevance' (4 columns), relevance an integer"


class TrainingQuery(NamedTuple):
    """One query with the index rows of its relevant documents (at least one)."""

    qid: str
    text: str
    rows: list[int]


def read_topics(name_or_path: str | os.PathLike | Mapping[str, str]) -> dict[str, str]:
    """Read queries as ``python -m pyserini.search... --topics`` does.

    Args:
        name_or_path: A Pyserini topics name, or a file: ``qid<TAB>query``, ``.gz`` too, JSON, and what
            :func:`jpq_pyserini.data.topic_forms.published_topics` reads, whatever its name; .jsonl with ``title`` is
            read by Pyserini. Or a dictionary, qid to query text.

    Returns:
        qid to query text, in Pyserini's order (ids sorted, numerically if all are digits). As in Pyserini, an id of
        digits loses its leading zeros.

    Raises:
        JPQError: no such file or name; an empty or malformed file, a query without text, a repeated query id.
    """
    if isinstance(name_or_path, Mapping):
        topics: dict[str, str] = {}
        for qid, text in name_or_path.items():
            _add_topic(topics, str(qid), text, "topics", keep_id=True)
        return _not_empty(topics, "topics")
    path = _existing_file(name_or_path)
    if path is None:
        return _checked_topics(_pyserini_topics(str(name_or_path)), str(name_or_path))
    theirs = "cacm" in path
    if not theirs and (published := published_topics(path)) is not None:
        return _of_published(published, path)
    if path.endswith(_PLAIN_TOPICS) and ("cacm" not in path or "beir" in path):
        topics = _plain_topics(path)
        if not any(re.match(r"[+-]\d", qid) for qid in topics):  # Java's idea of these depends on the other ids
            return _in_pyserini_order(topics)
    elif path.endswith(".json") and not re.search("beir|cacm", path):
        return dict(sorted(_json_topics(path).items()))
    elif not theirs and not path.endswith((".json", ".jsonl")):
        if has_columns(path):
            return _in_pyserini_order(_plain_topics(path))
        if is_json_object(path):
            return dict(sorted(_json_topics(path).items()))
    topics = _checked_topics(_pyserini_topics(path), path)
    if path.endswith(".jsonl"):
        lines = sum(1 for _, line in text_lines(path) if line.strip())
        if lines != len(topics):
            raise JPQError(f"{path}: {lines} lines hold only {len(topics)} different query ids: make each id unique")
    return topics


def read_qrels(name_or_path: str | os.PathLike | Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Read relevance judgements: a Pyserini qrels name, or a file of ``qid 0 docid relevance`` lines (.gz too), or
    a dictionary, qid to docid to relevance.

    Lines that start with "#" are comments, as in today's trec_eval. A file with a header has as many columns as
    that: three with BEIR's (query-id, corpus-id, score); there may be commas between them.

    Returns:
        qid to docid to relevance, in the file's order; ids exactly as written, as trec_eval compares them.

    Raises:
        JPQError: no such file or name; an empty file, a wrong column count, a relevance that is no integer, a pair
            judged twice.
    """
    if isinstance(name_or_path, Mapping):
        return {str(qid): {str(docid): int(r) for docid, r in judged.items()} for qid, judged in name_or_path.items()}
    path = _existing_file(name_or_path) or _pyserini_qrels_file(str(name_or_path))
    qrels: dict[str, dict[str, int]] = {}
    wanted = 4
    split = columns_of
    for number, line in text_lines(path):
        if not qrels and line.partition(",")[0].strip('"') in _QRELS_HEADERS:
            split = _of_csv
        columns = split(line)
        if not columns or is_comment(line):
            continue
        named = columns[0] in _QRELS_HEADERS and not columns[-1].removeprefix("-").isdecimal()
        if named and len(columns) in (3, 4) and not qrels:
            wanted = len(columns)
            continue
        if len(columns) != wanted:
            raise JPQError(f"{path}:{number}: {len(columns)} columns in {quoted(line)}: {_QRELS_FORM}")
        qid, (docid, relevance) = columns[0], columns[-2:]
        judged = qrels.setdefault(qid, {})
        if docid in judged:
            raise JPQError(f"{path}:{number}: document {docid!r} is judged twice for query {qid!r}: keep one line")
        try:
            judged[docid] = int(relevance.removesuffix(".0"))
        except ValueError:
            raise JPQError(f"{path}:{number}: relevance {relevance!r} is no integer: {_QRELS_FORM}") from None
    if not qrels:
        raise JPQError(f"{path} holds no judgements: {_QRELS_FORM}")
    return qrels


def _of_csv(line: str) -> list[str]:
    return [column.strip() for column in next(csv.reader([line]), [])]


def training_pairs(
    topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], docids: Mapping[str, int]
) -> tuple[list[TrainingQuery], int]:
    """Join queries, judgements (relevance > 0 is relevant) and the index rows of ``docids``.

    Returns:
        The queries with a relevant document, in the order of ``topics``, and the number of those without one.
        Judgements of documents that are not in the index are left out, with a warning that counts them.

    Raises:
        JPQError: no relevant document is in the index; no query has a relevant document.
    """
    pairs, missing = [], []
    for qid, text in topics.items():
        relevant = [docid for docid, relevance in qrels.get(qid, {}).items() if relevance > 0]
        missing += [(docid, qid) for docid in relevant if docid not in docids]
        if rows := [docids[docid] for docid in relevant if docid in docids]:
            pairs.append(TrainingQuery(qid, text, rows))
    if missing and pairs:
        words = "%s judgements of relevant documents that are not in the index are left out; first: %r for query %r"
        logger.warning(words, f"{len(missing):,}", *missing[0])
    elif missing:
        docid, qid = missing[0]
        raise JPQError(
            f"document {docid!r}, relevant to query {qid!r} in the qrels, is not in the index "
            f"({len(missing)} such judgements, {len(docids)} documents, the first one {next(iter(docids), None)!r}): "
            "give the qrels of this collection, or leave those lines out"
        )
    if not pairs:
        raise JPQError(
            f"none of the {len(topics)} topics (first id {next(iter(topics), None)!r}) has a relevant document in the "
            f"qrels ({len(qrels)} queries, first id {next(iter(qrels), None)!r}): give the qrels of these topics; mind "
            "that Pyserini reads query id 007 as 7"
        )
    return pairs, len(topics) - len(pairs)


def _existing_file(name_or_path: str | os.PathLike) -> str | None:
    """Return the path as a string, or None if it can only be a name of Pyserini's."""
    path = os.fspath(name_or_path)
    if os.path.isdir(path):
        raise JPQError(f"{path} is a directory: name the file in it")
    if os.path.exists(path):
        return path
    if _FILE_NAME.search(path):
        raise JPQError(f"no such file: {path}: check the path")
    return None


def _plain_topics(path: str) -> dict[str, str]:
    """Read ``qid<TAB>query`` lines as Anserini's TsvIntTopicReader and TsvStringTopicReader do."""
    topics: dict[str, str] = {}
    for number, line in text_lines(path):
        columns = line.strip(_JAVA_BLANKS).split("\t")
        if len(columns) == 1:
            raise JPQError(
                f"{path}:{number}: one column in {quoted(line)}: topics lines are 'qid<TAB>query text', none is blank"
            )
        _add_topic(topics, columns[0], columns[1].strip(_JAVA_BLANKS), f"{path}:{number}")
    return _not_empty(topics, path)


def _json_topics(path: str) -> dict[str, str]:
    """Read ``{"qid": {"title": "query text"}}``, or texts in place of the objects; ids are kept as written here."""
    whole = "\n".join(line for _, line in text_lines(path))
    try:
        pairs = parse_json(whole, object_pairs_hook=_Pairs) if whole.strip() else _Pairs()
    except JSONError as error:
        raise JPQError(f"{path}: not JSON ({error}): topics are {_JSON_FORM}") from None
    topics: dict[str, str] = {}
    for qid, fields in pairs if isinstance(pairs, _Pairs) else [("?", pairs)]:
        if not isinstance(fields, _Pairs | str):
            raise JPQError(f"{path}: query {qid!r} is no object: JSON topics are {_JSON_FORM}")
        text = fields if isinstance(fields, str) else dict(fields).get("title")
        _add_topic(topics, qid, text, path, keep_id=True)
    return _not_empty(topics, path)


def _of_published(published: Iterable[Topic], path: str) -> dict[str, str]:
    topics: dict[str, str] = {}
    for qid, text, place in published:
        _add_topic(topics, qid, text, place)
    return _in_pyserini_order(_not_empty(topics, path))


class _Pairs(list):
    """The members of a JSON object, repeated keys included."""


def _checked_topics(pairs: list[tuple[str | int, str]], source: str) -> dict[str, str]:
    topics: dict[str, str] = {}
    for qid, text in pairs:
        _add_topic(topics, str(qid), text, source)
    return _not_empty(topics, source)


def _add_topic(topics: dict[str, str], qid: str, text: object, place: str, *, keep_id: bool = False) -> None:
    if qid.isdecimal() and not keep_id:
        if len(qid) > _LONGEST_NUMBER:
            raise JPQError(f"{place}: a query id of {len(qid):,} digits: give it a shorter one")
        qid = str(int(qid))  # pyserini.search.get_topics_with_reader does the same
    if not isinstance(text, str) or not text.strip():
        raise JPQError(f"{place}: query {qid!r} has no text: add it (JSON: as 'title') or leave the query out")
    if not is_docid(qid.strip()) or qid.startswith("#"):
        raise JPQError(
            f"{place}: the query id {quoted(qid)} would break run files: no blanks, no control characters, no # at its "
            "start"
        )
    if qid in topics:
        raise JPQError(f"{place}: query id {qid!r} occurs twice (Pyserini reads 007 as 7): make each id unique")
    topics[qid] = text


def _not_empty(topics: dict[str, str], source: str) -> dict[str, str]:
    if not topics:
        raise JPQError(f"{source} holds no topics: its lines should be 'qid<TAB>query text'")
    return topics


def _in_pyserini_order(topics: dict[str, str]) -> dict[str, str]:
    numeric = all(qid.isdecimal() for qid in topics)
    return {qid: topics[qid] for qid in sorted(topics, key=int if numeric else str)}


def _pyserini_topics(name_or_path: str) -> list[tuple[str | int, str]]:
    with _as_jpq_error(name_or_path, "topics"):
        from pyserini.query_iterator import TopicsFormat, get_query_iterator

        if not os.path.exists(name_or_path):
            _refuse_unknown(name_or_path, "topics")
        with contextlib.redirect_stdout(sys.stderr):  # it prints about its predefined orders
            return list(get_query_iterator(name_or_path, TopicsFormat.DEFAULT))


def _pyserini_qrels_file(name: str) -> str:
    with _as_jpq_error(name, "qrels"):
        from pyserini.search import get_qrels_file

        _refuse_unknown(name, "qrels")
        return get_qrels_file(name)


def _refuse_unknown(name: str, kind: str) -> None:
    from pyserini.search import _base

    known: Mapping[str, object] | None = getattr(_base, f"{kind}_mapping", None)
    if known is None:  # from 2.4 on, fetched when it is asked for
        known = getattr(_base, f"_get_{kind}_mapping")()
        if not known:
            raise JPQError(
                f"{name!r} is no file, and Pyserini's list of {kind} is neither in its cache nor to be fetched: give a "
                "file, or run once with a network"
            )
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "check the path or the name"
        raise JPQError(f"{name!r} is neither a file nor one of Pyserini's {kind}: {hint}")


@contextlib.contextmanager
def _as_jpq_error(source: str, kind: str) -> Iterator[None]:
    """Turn whatever Pyserini and Java raise for a file or name into one line."""
    try:
        yield
    except (JPQError, ImportError):
        raise
    except Exception as error:  # Java's and Pyserini's have no common type
        hint = ""
        if os.path.exists(source) and "beir" in source:
            hint = " (it takes any path with 'beir' in it for TSV)"
        elif source.endswith(".jsonl"):
            hint = ' (it wants lines like {"id": "1", "title": "query text"})'
        raise JPQError(f"Pyserini cannot read the {kind} {source}{hint}: {reason_of(error)}") from error
