"""Queries that doc2query and docT5query predicted, in the forms their authors published them, joined to a corpus.

Text, a line a document in the order of the corpus: ``pred-test_topk10.txt`` (doc2query; all samples on one line),
several lines a document (``pred-collection_beam5.txt``, five; ``stride``), or a file a sample, cut in chunks
(``predicted_queries_topk_sample000.txt000-1004000``, docT5query): github.com/nyu-dl/dl4ir-doc2query,
github.com/castorini/docTTTTTquery. JSON lines ``{"id": …, "predicted_queries": […]}``, as on the Hugging Face hub
(castorini/msmarco_v1_passage_doc2query-t5_expansions): in the order of the corpus too, which may have more documents.

Everything streams: a corpus of millions of documents needs the memory of one.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jpq_pyserini.data.lines import text_lines
from jpq_pyserini.errors import JPQError
from jpq_pyserini.json_text import parse_json

_JSON_LINES = re.compile(r"\.jsonl?\d*(\.gz)?$")
_CHUNK = re.compile(r"^(?P<sample>.+\.txt)(?P<chunk>\d+)(?P<step>-\d+)?(\.gz)?$")


def with_queries(
    documents: Iterable[tuple[str, str]], files: Sequence[str | os.PathLike], *, stride: int = 1
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield ``(docid, text, predicted queries)`` of every document.

    Args:
        documents: docid and text, in order.
        files: of one form. Chunks of one sample (``….txt000``, ``….txt001``) follow each other; other text files stand
            side by side, each with ``stride`` lines a document.

    Raises:
        JPQError: a bad line; predictions for fewer (text files only) or for other documents than the corpus has.
    """
    are_json = [bool(_JSON_LINES.search(os.fspath(file))) for file in files]
    if any(are_json) and not all(are_json):
        raise JPQError(f"{files[0]} and {files[-1]}: predictions are either text or JSON lines, not both")
    if all(are_json):
        return _by_id(documents, _records(files))
    return _by_order(documents, _rows(files, stride), stride)


def _by_order(documents, rows: Iterator[tuple[str, list[str]]], stride: int) -> Iterator[tuple[str, str, list[str]]]:
    count, place = 0, "the predictions"
    for count, (docid, text) in enumerate(documents, 1):
        place, queries = next(rows, (place, None))
        if queries is None:
            raise JPQError(
                f"{place} is the last line, of document {count - 1:,}, but the corpus has more (next: {docid!r}): give "
                "all files of the predictions, and the corpus they were made from"
            )
        yield docid, text, queries
    if beyond := next(rows, None):
        raise JPQError(
            f"{beyond[0]}: predictions for more than the corpus' {count:,} documents: give the corpus they were made "
            f"from{'' if stride > 1 else ', or --stride if there are several lines a document'}"
        )


def _by_id(documents, records: Iterator[tuple[str, str, list[str]]]) -> Iterator[tuple[str, str, list[str]]]:
    ahead = next(records, None)
    for docid, text in documents:
        if ahead is None or ahead[1] != docid:
            yield docid, text, []
            continue
        yield docid, text, ahead[2]
        ahead = next(records, None)
    if ahead is not None:
        raise JPQError(
            f"{ahead[0]}: document {ahead[1]!r} does not come in the corpus after the one before it: bring the "
            "predictions into the order of the corpus, or give the corpus they were made from"
        )


def _records(files) -> Iterator[tuple[str, str, list[str]]]:
    """Yield place, docid and queries of JSON lines."""
    for file in files:
        for number, line in text_lines(file):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                record = parse_json(line)
                docid, queries = record["id"], record["predicted_queries"]
                sound = isinstance(queries, list) and all(isinstance(query, str) for query in queries)
            except (ValueError, TypeError, KeyError):
                sound = False
            if not sound:
                raise JPQError(f'{place}: {line[:60]!r} is not {{"id": …, "predicted_queries": ["…", …]}}')
            yield place, str(docid), queries


def _rows(files, stride: int) -> Iterator[tuple[str, list[str]]]:
    """Yield, for each document, the place of its first line and its lines in all samples."""
    samples = [_lines(chunks) for chunks in _samples(files)]
    last = ["an empty file"] * len(samples)
    while True:
        rows = [list(itertools.islice(sample, stride)) for sample in samples]
        if not any(rows):
            return
        for at, row in enumerate(rows):
            if len(row) < stride:
                raise JPQError(
                    f"{row[-1][0] if row else last[at]} is the last line of its sample, too early: every sample has "
                    f"{stride} line{'s' * (stride > 1)} for each document"
                )
            last[at] = row[-1][0]
        yield rows[0][0][0], [line for row in rows for _, line in row]


def _samples(files) -> list[list[str]]:
    """Return the files of each sample, its chunks in order."""
    samples: dict[str, dict[int, str]] = {}
    for number, file in enumerate(map(os.fspath, files)):
        parts = _CHUNK.match(Path(file).name)
        name = f"{Path(file).parent / parts['sample']}{parts['step'] or ''}" if parts else f"{number}:{file}"
        samples.setdefault(name, {})[int(parts["chunk"]) if parts else 0] = file
    return [[chunks[number] for number in sorted(chunks)] for chunks in samples.values()]


def _lines(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    for file in files:
        for number, line in text_lines(file):
            yield f"{file}:{number}", line.strip()
