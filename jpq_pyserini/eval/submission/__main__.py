"""Check a run as TREC does, mend it on request, and write the file to submit: ``… eval.submission --help``."""

import argparse
import os
import re
from collections.abc import Sequence

from jpq_pyserini.cli import add_output, add_topics, new_parser, positive_int, progress, run_main, say
from jpq_pyserini.data.runs import Row, new_run_file
from jpq_pyserini.data.topics import read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.submission.file import Scattered, run_queries
from jpq_pyserini.eval.submission.findings import Findings
from jpq_pyserini.eval.submission.query import CorpusDocids, Rules, checked
from jpq_pyserini.storage import check_outputs

REPAIRS = {
    "line-ends": "make Windows line ends plain, remove a byte order mark",
    "comments": "remove lines that start with #, such as ir_metadata's header",
    "msmarco": "turn MS MARCO's three columns (qid docid rank) into six, score 1 / rank",
    "q0": "write Q0 in the second column",
    "topics": "remove lines of queries that are not among the topics",
    "missing": "list the document of --dummy for topics without results",
    "corpus": "remove documents that are not in the corpus",
    "duplicates": "keep the best-scored line of a document listed twice",
    "depth": "remove documents ranked below --depth",
    "order": "sort the lines by query and rank",
    "ranks": "renumber by descending score, where ranks and scores disagree or ranks are not numbers",
    "scores": "rescore as 1 / rank, where ranks and scores disagree",
    "ties": "lower tied scores by the least possible amount, so that trec_eval keeps the order of the ranks",
}
_EXAMPLE = """\
example:
  jpq submission run.jpq.txt --topics dl19-passage --corpus-docids index/ --tag jpqM48

Repairs, applied only on request and reported with counts:
""" + "".join(f"  {name:<12}{meaning}\n" for name, meaning in REPAIRS.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, check, tell, write."""
    args = _parser().parse_args(argv)
    output = args.output or args.tag
    if not (args.output or args.check) and os.path.lexists(output):
        raise JPQError(f"{output} exists already: say --output {output} to replace it, or name another output")
    _check(args, output)
    topics = list(read_topics(args.topics))
    rules = Rules(args.depth, CorpusDocids(args.corpus_docids) if args.corpus_docids else None)
    try:
        queries, lines = _attempt(args, topics, rules, output, regroup=False)
    except Scattered:
        queries, lines = _attempt(args, topics, rules, output, regroup=True)
    made = "are fit to be submitted" if args.check else f"in {output}, tag {args.tag}"
    say(f"{args.run}: {lines:,} lines for {queries:,} of {len(topics):,} topics {made}")


def _attempt(args, topics: list[str], rules: Rules, output: str, *, regroup: bool) -> tuple[int, int]:
    """Check and write; tell what was found; return the numbers of queries and lines written."""
    findings = Findings(_repairs(args))
    with open(os.devnull, "wb") if args.check else new_run_file(output) as file:
        queries, lines = _written(args, topics, rules, findings, file, regroup)
        for severity, line in findings.lines():
            (say if severity == "repaired" else progress)(f"{severity}: {args.run}: {line}")
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
    if "missing" in args.repair and args.dummy is None:
        raise JPQError("--repair missing needs --dummy DOCID, the document to list for a topic without results")
    if args.dummy is not None and len(args.dummy.split()) != 1:
        raise JPQError(f"--dummy {args.dummy!r}: give one docid")
    if not args.check:
        check_outputs([output], [args.run, args.topics, args.corpus_docids])


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.submission",
        "Check a TREC run as TREC's own checkers do, set its tag, and write the file to submit.",
        _EXAMPLE,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run to check: TREC format, .gz too")
    add_topics(parser, "queries of the track")
    add("--tag", required=True, metavar="TAG", help="run tag: letters, digits, '_', '.', '-'; some tracks allow fewer")
    add("--tag-max", type=positive_int, default=20, metavar="N", help="longest run tag allowed; tracks say 12 to 25")
    add(
        "--corpus-docids",
        metavar="FILE",
        help="also check that docids are in the corpus: file with one docid a line (.gz too), or Faiss index folder",
    )
    add("--depth", type=positive_int, default=1000, metavar="N", help="maximum number of documents per topic")
    add("--allow-missing", action="store_true", help="do not report topics without results")
    add(
        "--repair",
        nargs="+",
        default=[],
        choices=[*REPAIRS, "all"],
        metavar="NAME",
        help="repairs to apply (see below); 'all' = all except scores",
    )
    add("--dummy", metavar="DOCID", help="document to list for topics without results, with --repair missing")
    add_output(parser, "file to submit, gzipped if named .gz (default: TAG, as TREC wants it named)", required=False)
    add("--check", action="store_true", help="only check, write nothing")
    return parser


if __name__ == "__main__":
    run_main(main)
