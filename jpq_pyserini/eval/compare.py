"""Score several runs at once and show them in one table: ``python -m jpq_pyserini.eval.compare --help``."""

import argparse
from collections.abc import Mapping, Sequence

from jpq_pyserini.cli import add_qrels, add_runs, add_topics, new_parser, note, progress, run_main, say
from jpq_pyserini.data.runs import named_paths, run_name
from jpq_pyserini.data.topics import read_qrels, read_topics
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import facts_path, read_facts
from jpq_pyserini.eval.measures import DEFAULT_MEASURES, parse_measure
from jpq_pyserini.eval.report import FORMS, form_of, per_query_lines, write_forms
from jpq_pyserini.eval.significance import CORRECTIONS
from jpq_pyserini.storage import check_outputs, new_file

_EXAMPLE = """\
example:
  jpq compare --qrels qrels.test.txt --topics queries.test.tsv \\
      --run BM25=runs/bm25.txt --run OPQ=runs/opq.txt --run JPQ=runs/jpq.txt \\
      --against BM25 --gains JPQ:5 --output table.md --output page.html

writes one row a run, equal to what "python -m pyserini.eval.trec_eval -c" prints for each (RR@10: -M 10 -m recip_rank):
means over all queries of the qrels, so that a query without results counts zero. MSMARCO-MRR@10 is what
"python -m pyserini.eval.msmarco_passage_eval" prints. What stands beside a run as NAME.facts.json (size, speed) becomes
columns and plots. The HTML page needs no server and no network.
"""
_GAINS = 10


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, score the runs, print the table or write it in the forms asked for."""
    args = _parser().parse_args(argv)
    runs = named_paths(args.run, called=lambda path: read_facts(path).title or run_name(path))
    if args.against is not None and args.against not in runs:
        raise JPQError(f"--against {args.against}: no run of that name, there are {', '.join(runs)}")
    if args.against is None and args.correction != "none":
        raise JPQError(f"--correction {args.correction} needs --against NAME: without it nothing is tested")
    gains = _gains(args.gains, runs, args.against)
    files = {path: args.format or form_of(path) for path in args.output}
    printed = None if files else args.format or "text"
    for name in args.measures:
        parse_measure(name)  # before the minutes that reading may take
    inputs = [args.qrels, args.topics, *runs.values(), *map(facts_path, runs.values())]
    check_outputs([*args.output, args.per_query], inputs)
    qrels = read_qrels(args.qrels)
    comparison = compare(
        runs,
        qrels,
        args.measures,
        against=args.against,
        correction=args.correction,
        topics=read_topics(args.topics) if args.topics is not None else {},
        gains=gains,
        with_hits=bool(gains) or "html" in (printed, *files.values()),
        note=note,
    )
    if args.per_query is not None:
        with new_file(args.per_query) as file:
            file.writelines(per_query_lines(comparison))
    facts = {"qrels": args.qrels} | ({"topics": args.topics} if args.topics else {}) | {"files": runs}
    write_forms(comparison, files, **facts)
    if printed is not None:
        say(FORMS[printed][0](comparison, **facts), end="")
    if written := [path for path in (*files, args.per_query) if path is not None]:
        progress(f"wrote {', '.join(written)}")  # stdout may hold a table


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "jpq_pyserini.eval.compare",
        "Score retrieval runs with trec_eval's measures and compare them in one table.",
        _EXAMPLE,
    )
    add_qrels(parser)
    add_runs(parser, "runs to compare (NAME: by default its facts' title, else its file's name)")
    add = parser.add_argument
    add(
        "--measures",
        nargs="+",
        default=list(DEFAULT_MEASURES),
        metavar="M",
        help='any measure of ir_measures, such as "AP(rel=2)" or Judged@10, trec_eval\'s names, and MSMARCO-MRR@10',
    )
    add("--against", metavar="NAME", help="test the other runs against this one: two-tailed paired t-test")
    add(
        "--correction",
        choices=CORRECTIONS,
        default="none",
        help="correct the p-values for multiple testing, over all runs and measures of the table",
    )
    add(
        "--gains",
        action="append",
        default=[],
        metavar="NAME[:K]",
        help="list the K queries on which run NAME gains and loses most over the run of --against, by the first "
        f"measure (default K: {_GAINS}); repeat for more runs",
    )
    add_topics(parser, "queries, to show their texts", required=False)
    add("--format", choices=tuple(FORMS), help="form of the table (default: by the ending of --output, else text)")
    add(
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write to FILE (.txt, .md, .tex, .json, .html) instead of printing; repeat for several forms",
    )
    add("--per-query", metavar="FILE", help="also write every query's values: TSV of qid, run, measure, value")
    return parser


def _gains(arguments: Sequence[str], runs: Mapping[str, str], against: str | None) -> dict[str, int]:
    gains = {}
    for argument in arguments:
        name, _, count = argument.rpartition(":")
        if argument in runs:
            name, count = argument, str(_GAINS)
        if name not in runs or not (count.isdecimal() and len(count) < 10 and int(count)):
            raise JPQError(f"--gains {argument}: give NAME or NAME:K, K from 1; runs are {', '.join(runs)}")
        if against is None or name == against:
            raise JPQError(f"--gains {argument}: name another run with --against, to compare it with")
        gains[name] = int(count)
    return gains


if __name__ == "__main__":
    run_main(main)
