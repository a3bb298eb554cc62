"""The collection that a quickstart runs on, in Pyserini's formats: passages, and topics and qrels in parts.

::

    DIR/corpus/docs.jsonl                     {"id": …, "contents": …}, what Pyserini calls a JsonCollection
    DIR/queries.train.tsv  .dev.tsv  .test.tsv   qid TAB text
    DIR/qrels.train.txt    .dev.txt  .test.txt   qid 0 docid relevance
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.quickstart.docstrings import Documented
from jpq_pyserini.storage import new_file

PARTS = ("train", "dev", "test")
#: Shares of a split by hash, in parts of 100: dev first, then test; the rest is for training.
_DEV_SHARE, _TEST_SHARE = 6, 28


@dataclass(frozen=True)
class Query:
    """One query and its judgements."""

    qid: str
    text: str
    judged: Mapping[str, int]


@dataclass(frozen=True)
class Collection:
    """Where the files of a written collection are."""

    directory: Path

    @property
    def corpus(self) -> Path:
        return self.directory / "corpus"

    def topics(self, part: str) -> Path:
        return self.directory / f"queries.{part}.tsv"

    def qrels(self, part: str) -> Path:
        return self.directory / f"qrels.{part}.txt"

    def passages(self) -> Iterator[tuple[str, str]]:
        """Yield (docid, text)."""
        with open(self.corpus / "docs.jsonl", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                yield record["id"], record["contents"]

    def write(self, passages: Iterable[tuple[str, str]], queries: Mapping[str, list[Query]]) -> None:
        """Write the passages and each part's queries; each file appears whole or not at all."""
        with new_file(self.corpus / "docs.jsonl") as file:
            for docid, text in passages:
                file.write(json.dumps({"id": docid, "contents": text}, ensure_ascii=False) + "\n")
        for part in PARTS:
            with new_file(self.topics(part)) as file:
                file.writelines(f"{query.qid}\t{' '.join(query.text.split())}\n" for query in queries[part])
            with new_file(self.qrels(part)) as file:
                for query in queries[part]:
                    file.writelines(f"{query.qid} 0 {docid} {level}\n" for docid, level in query.judged.items())


def part_of(key: str) -> str:
    """Return the part that ``key`` falls into: 6 % dev, 28 % test, the rest train; always the same for one key."""
    place = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:4], "big") % 100
    return "dev" if place < _DEV_SHARE else "test" if place < _DEV_SHARE + _TEST_SHARE else "train"


def from_docstrings(items: list[Documented]) -> tuple[list[tuple[str, str]], dict[str, list[Query]]]:
    """Turn docstrings into passages and queries, split by module: no module of a test query is trained on."""
    passages = [(item.docid, item.body) for item in items]
    queries: dict[str, list[Query]] = {part: [] for part in PARTS}
    for number, item in enumerate(items, 1):
        queries[part_of("module " + item.module)].append(Query(str(number), item.summary, {item.docid: 1}))
    return passages, queries


def read_passages(path: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield (docid, text) of a :class:`~jpq_pyserini.data.corpus.Corpus`.

    Raises:
        JPQError: what a corpus raises; no passages, an id with a blank in it, which no run file takes, or one that
            comes twice.
    """
    from jpq_pyserini.data.corpus import Corpus

    seen: set[str] = set()
    for docid, text, place in Corpus(path).with_places():
        if docid.split() != [docid]:
            raise JPQError(f"{place} has the id {docid!r}: write it without blanks, which part the columns of a run")
        if docid in seen:
            raise JPQError(f"{place}: passage id {docid!r} occurs twice: make each id unique")
        seen.add(docid)
        yield docid, text
    if not seen:
        raise JPQError(f'{path} holds no passages: a line is {{"id": "1", "contents": "text"}}, in a .jsonl file')
