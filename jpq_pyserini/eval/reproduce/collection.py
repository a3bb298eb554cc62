"""A collection for a quickstart: ``python -m jpq_pyserini.eval.reproduce.collection --help``.

::

    DIR/corpus/docs.jsonl                        {"id": ..., "contents": ...}: a JsonCollection
    DIR/queries.train.tsv  .dev.tsv  .test.tsv   qid TAB text
    DIR/qrels.train.txt    .dev.txt  .test.txt   qid 0 docid relevance
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jpq_pyserini.cli import add_corpus, add_new_directory, add_qrels, add_topics, new_parser, run_main, say
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.topics import read_qrels, read_topics, training_pairs
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.reproduce.docstrings import Documented, collect, source_roots
from jpq_pyserini.storage import new_directory

PARTS = ("train", "dev", "test")
#: Percentages of a split by hash: dev first, then test; the rest is for training.
_DEV_SHARE, _TEST_SHARE = 6, 28


@dataclass(frozen=True)
class Query:
    """One query and its relevance judgements, docid to level."""

    qid: str
    text: str
    judged: Mapping[str, int]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the collection of docstrings, or the user's own split into train, dev and test."""
    args = _parser().parse_args(argv)
    if args.corpus is None:
        roots = source_roots()
        items = collect(roots, args.passages)
        write_collection(Path(args.output), *from_docstrings(items))
        say(f"{len(items)} docstrings of {', '.join(roots)}, for instance:")
        for item in items[:: max(1, len(items) // 3)][:3]:
            say(f"  {item.summary!r}  is the query for  {item.docid}: {item.body[:60]!r}...")
        return
    if not (args.topics and args.qrels):
        raise JPQError(f"--corpus {args.corpus} needs --topics and --qrels: JPQ learns from queries and judgements")
    files = {
        "train": (args.topics, args.qrels),
        "dev": (args.dev_topics, args.dev_qrels) if args.dev_topics else None,
        "test": (args.test_topics, args.test_qrels) if args.test_topics else None,
    }
    passages = list(read_passages(args.corpus))
    write_collection(Path(args.output), passages, read_queries(files, [docid for docid, _ in passages]))


def write_collection(
    directory: Path, passages: Iterable[tuple[str, str]], queries: Mapping[str, Sequence[Query]]
) -> None:
    """Write (docid, text) of the passages and each part's queries to a new directory."""
    with new_directory(directory) as folder:
        (folder / "corpus").mkdir()
        with open(folder / "corpus" / "docs.jsonl", "w", encoding="utf-8") as file:
            for docid, text in passages:
                file.write(json.dumps({"id": docid, "contents": text}, ensure_ascii=False) + "\n")
        for part in PARTS:
            with open(folder / f"queries.{part}.tsv", "w", encoding="utf-8") as file:
                file.writelines(f"{query.qid}\t{' '.join(query.text.split())}\n" for query in queries[part])
            with open(folder / f"qrels.{part}.txt", "w", encoding="utf-8") as file:
                for query in queries[part]:
                    file.writelines(f"{query.qid} 0 {docid} {level}\n" for docid, level in query.judged.items())


def part_of(key: str) -> str:
    """Return the part that ``key`` falls into: 6 % dev, 28 % test, the rest train; always the same for one key."""
    place = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:4], "big") % 100
    return "dev" if place < _DEV_SHARE else "test" if place < _DEV_SHARE + _TEST_SHARE else "train"


def from_docstrings(items: Sequence[Documented]) -> tuple[list[tuple[str, str]], dict[str, list[Query]]]:
    """Turn docstrings into passages and queries, split by module: no module of a test query is trained on."""
    passages = [(item.docid, item.body) for item in items]
    queries: dict[str, list[Query]] = {part: [] for part in PARTS}
    for number, item in enumerate(items, 1):
        queries[part_of("module " + item.module)].append(Query(str(number), item.summary, {item.docid: 1}))
    return passages, queries


def read_passages(path: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield (docid, text) of a :class:`~jpq_pyserini.data.corpus.Corpus`.

    Raises:
        JPQError: what a corpus raises; no passages, or an id that comes twice.
    """
    seen: set[str] = set()
    for docid, text, place in Corpus(path).with_places():
        if docid in seen:
            raise JPQError(f"{place}: passage id {docid!r} occurs twice: make each id unique")
        seen.add(docid)
        yield docid, text
    if not seen:
        raise JPQError(f'{path} holds no passages: a line is {{"id": "1", "contents": "text"}}, in a .jsonl file')


def read_queries(files: Mapping[str, tuple[str, str] | None], docids: Sequence[str]) -> dict[str, list[Query]]:
    """Read the topics and qrels of each part and split off by hash the parts that are not given.

    Queries of train and dev whose text is a test query too are left out: the table would flatter JPQ.

    Args:
        files: part (train, dev, test) to (topics, qrels), names or files; None to split the part off from train.
        docids: of the collection.

    Raises:
        JPQError: see :mod:`jpq_pyserini.data.topics`; or a part would be left without queries.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    queries = {part: _judged(*names, rows) if names else [] for part, names in files.items()}
    total = len(queries["train"])
    missing = {part for part in PARTS if files[part] is None}
    if missing:
        given, queries["train"] = queries["train"], []
        for query in given:
            part = part_of("query " + query.qid)
            queries[part if part in missing else "train"].append(query)
    tested = {_folded(query.text) for query in queries["test"]}
    for part in ("train", "dev"):
        kept = [query for query in queries[part] if _folded(query.text) not in tested]
        if len(kept) < len(queries[part]):
            say(f"{len(queries[part]) - len(kept)} {part} queries left out: their text is a test query, too")
        queries[part] = kept
    for part, least in (("train", 1), ("dev", 1), ("test", 2)):
        if len(queries[part]) < least:
            topics = files["train"][0] if files["train"] else "--topics"
            raise JPQError(
                f"{topics}: {total} judged queries leave {len(queries[part])} for {part}: "
                "give more, or --dev-topics/--dev-qrels and --test-topics/--test-qrels"
            )
    return queries


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _judged(topics_name: str, qrels_name: str, rows: Mapping[str, int]) -> list[Query]:
    """Return the queries that have a relevant document, with their judgements."""
    topics, qrels = read_topics(topics_name), read_qrels(qrels_name)
    pairs, _ = training_pairs(topics, qrels, rows)
    return [Query(pair.qid, pair.text, qrels[pair.qid]) for pair in pairs]


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.reproduce.collection",
        "Write a collection split into train, dev and test: docstrings of the installed packages, or your own.",
    )
    add_new_directory(parser, "folder of the collection")
    parser.add_argument("--passages", type=int, default=3600, metavar="N", help="passages taken from docstrings")
    add_corpus(parser, "your own documents", required=False)
    add_topics(parser, "your own training queries", required=False)
    add_qrels(parser, "judgements of the training queries", required=False)
    for part, use in (("dev", "that choose the checkpoint"), ("test", "that are scored")):
        add_topics(parser, f"queries {use} (default: split off by hash)", f"--{part}-topics", required=False)
        add_qrels(parser, f"judgements of the {part} queries", f"--{part}-qrels", required=False)
    return parser


if __name__ == "__main__":
    run_main(main)
