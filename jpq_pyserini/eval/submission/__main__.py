"""Check a run as TREC does, mend it on request, and write the file to submit: ``… eval.submission --help``."""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from jpq_pyserini.cli import run_main
from jpq_pyserini.data.runs import Row, new_run_file
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission.file import Scattered, run_queries
from jpq_pyserini.eval.submission.findings import Findings
from jpq_pyserini.eval.submission.query import CorpusDocids, Rules, checked

REPAIRS = {
    "line-ends": "Windows line ends, byte order mark",
    "comments": "leave out lines that start with #, such as ir_metadata's header",
    "msmarco": "three columns (qid docid rank) become six, score 1 / rank",
    "q0": "second column",
    "topics": "leave out lines of queries that are not among the topics",
    "missing": "list the document --dummy for topics without results",
    "corpus": "leave out documents that are not in the corpus",
    "duplicates": "keep the best-scored line of a document",
    "depth": "leave out what lies below --depth",
    "order": "bring the lines of a query together, in the order of the ranks",
    "ranks": "number anew from the scores, where ranks and scores disagree or ranks are no numbers",
    "scores": "score anew from the ranks (1 / rank), where they disagree",
    "ties": "lower equal scores by the least possible, so that trec_eval keeps the order of the ranks",
}
_EXAMPLE = """\
example:
  python -m jpq_pyserini.eval.submission run.jpq.txt --topics dl19-passage --corpus-docids index/ --tag jpqM48

Repairs, none of them unless asked for, each told with a count:
""" + "".join(f"  {name:<12}{meaning}\n" for name, meaning in REPAIRS.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, check, tell, write."""
    args = _parser().parse_args(argv)
    output = args.output or args.tag
    _check(args, output)
    topics = list(read_topics(args.topics))
    rules = Rules(args.depth, CorpusDocids(args.corpus_docids) if args.corpus_docids else None)
    try:
        queries, lines = _attempt(args, topics, rules, output, regroup=False)
    except Scattered:
        queries, lines = _attempt(args, topics, rules, output, regroup=True)
    made = "are fit to be submitted" if args.check else f"in {output}, tag {args.tag}"
    print(f"{args.run}: {lines:,} lines for {queries:,} of {len(topics):,} topics {made}")


def _attempt(args, topics: list[str], rules: Rules, output: str, *, regroup: bool) -> tuple[int, int]:
    """Check and write; tell what was found; return the numbers of queries and lines written."""
    findings = Findings(_repairs(args))
    with open(os.devnull, "wb") if args.check else new_run_file(output) as file:
        queries, lines = _written(args, topics, rules, findings, file, regroup)
        for severity, line in findings.lines():
            print(f"{severity}: {args.run}: {line}", file=sys.stdout if severity == "repaired" else sys.stderr)
        if args.repair == ["all"] and findings.rising * 2 > queries:
            raise JPQError(
                f"{args.run}: scores rise with the ranks in {findings.rising:,} of {queries:,} queries, as distances "
                "do: say --repair all scores (the ranks are right) or --repair all ranks (the scores are)"
            )
        if findings.grave:
            raise JPQError(f"{args.run}: not fit to be submitted" + ("" if args.check else ", nothing was written"))
    return queries, lines


def _written(args, topics: list[str], rules: Rules, findings: Findings, file, regroup: bool) -> tuple[int, int]:
    from tqdm import tqdm

    known, answered, lines = set(topics), set(), 0
    queries = run_queries(args.run, findings, regroup=regroup)
    for qid, rows in tqdm(queries, "checking", unit="query", delay=2, leave=False, disable=None):
        if qid not in known:
            short = qid.lstrip("0") if qid.isdecimal() else ""
            hint = f", read from the topics as {short}: Pyserini drops leading zeros" if short in known else ""
            findings.add("topics", rows[0].line, f"query {qid}{hint}", len(rows))
            continue
        if rows := checked(qid, rows, rules, findings):
            answered.add(qid)
            lines += len(rows)
            file.writelines(_line(row, args.tag) for row in rows)
    for qid in topics:
        if qid not in answered and not args.allow_missing and findings.add("missing", None, qid):
            lines += 1
            answered.add(qid)
            file.write(_line(Row(0, qid, args.dummy, 1, 0.0, "0"), args.tag))
    return len(answered), lines


def _line(row: Row, tag: str) -> bytes:
    return f"{row.qid} Q0 {row.docid} {row.rank or 0} {row.text} {tag}\n".encode()


def _repairs(args) -> frozenset[str]:
    """Return the chosen repairs; ``all`` leaves the scores alone, and a dummy must be named."""
    chosen = set(args.repair)
    if "all" in chosen:
        chosen |= REPAIRS.keys() - {"all", *({"scores"} - chosen), *({"missing"} if args.dummy is None else ())}
    return frozenset(chosen - {"all"})


def _check(args, output: str) -> None:
    if not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{args.tag_max}}}", args.tag):
        raise JPQError(
            f"--tag {args.tag!r} of {len(args.tag)} characters: TREC wants 1 to {args.tag_max} letters, digits, "
            "'_', '.' or '-'"
        )
    if args.depth < 1:
        raise JPQError(f"--depth {args.depth}: give a positive number")
    if "missing" in args.repair and args.dummy is None:
        raise JPQError("--repair missing needs --dummy DOCID, the document to list for a topic without results")
    if args.dummy is not None and len(args.dummy.split()) != 1:
        raise JPQError(f"--dummy {args.dummy!r}: give one docid")
    if not args.check and os.path.exists(output) and os.path.exists(args.run) and os.path.samefile(output, args.run):
        raise JPQError(f"{output} is the run itself: name another --output, so that the run stays as it was")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.submission",
        description="Check a TREC run as TREC's own checkers do, set its tag, and write the file to submit.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run file, .gz too")
    add("--topics", required=True, metavar="T", help="topics file, or a topics name that Pyserini knows")
    add("--tag", required=True, metavar="TAG", help="run tag: letters, digits, '_', '.', '-'; some tracks allow fewer")
    add("--tag-max", type=int, default=20, metavar="N", help="longest tag; TREC's tracks say 12 to 25 (default: 20)")
    add("--corpus-docids", metavar="F", help="file with a docid a line, .gz too, or Faiss index folder: check docids")
    add("--depth", type=int, default=1000, metavar="N", help="most documents a topic (default: 1000)")
    add("--allow-missing", action="store_true", help="topics without results are in order")
    add("--repair", nargs="+", default=[], choices=[*REPAIRS, "all"], metavar="R", help="see below; all: but scores")
    add("--dummy", metavar="DOCID", help="document to list for topics without results, with --repair missing")
    add("--output", metavar="FILE", help="file to submit, gzipped if named .gz (default: TAG, as TREC wants it named)")
    add("--check", action="store_true", help="write nothing")
    return parser


if __name__ == "__main__":
    run_main(main)
