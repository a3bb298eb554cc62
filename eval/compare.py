"""Score several runs at once and show them in one table: ``python -m jpq_pyserini.eval.compare --help``."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from jpq_pyserini.eval.measures import DEFAULT_MEASURES, evaluate, parse_measure
from jpq_pyserini.eval.report import Comparison, as_json, as_markdown, as_text, per_query_lines
from jpq_pyserini.eval.runs import named_paths, read_run

from jpq_pyserini.cli import run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import new_file
from jpq_pyserini.topics import read_qrels

_EXAMPLE = """\
example:
  python -m jpq_pyserini.eval.compare --qrels qrels.test.txt \\
      --run BM25=runs/bm25.txt --run OPQ=runs/opq.txt --run JPQ=runs/jpq.txt --against OPQ

prints one row a run, equal to what "python -m pyserini.eval.trec_eval -c" prints for each (RR@10: -M 10 -m recip_rank):
means over all queries of the qrels, so that a query without results counts zero.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, score the runs, print the table."""
    args = _parser().parse_args(argv)
    runs = named_paths(args.run)
    if args.against is not None and args.against not in runs:
        raise JPQError(f"--against {args.against}: no run of that name, there are {', '.join(runs)}")
    for name in args.measures:
        parse_measure(name)  # before the minutes that reading may take
    qrels = read_qrels(args.qrels)
    comparison = compare(runs, qrels, args.measures, against=args.against, note=_note)
    if args.format == "json":
        text = as_json(comparison, qrels=args.qrels, files=runs)
    else:
        text = {"text": as_text, "markdown": as_markdown}[args.format](comparison)
    if args.per_query is not None:
        with new_file(args.per_query) as file:
            file.writelines(per_query_lines(comparison))
    if args.output is None:
        sys.stdout.write(text)
        return
    with new_file(args.output) as file:
        file.write(text)


def compare(
    runs: Mapping[str, str | os.PathLike],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    against: str | None = None,
    note=lambda line: None,
) -> Comparison:
    """Read and score run files, one at a time.

    Args:
        runs: Name to run file.
        qrels: qid to docid to relevance.
        measures: Names that :func:`~jpq_pyserini.eval.measures.parse_measure` knows.
        against: Name of the run that the others are tested against.
        note: Called with a line about each run that leaves judged queries unanswered.

    Raises:
        JPQError: a bad run file, a run without a judged query, an unknown measure.
    """
    from tqdm import tqdm

    values = {
        name: _scored(path, name, qrels, measures, note)
        for name, path in tqdm(runs.items(), "scoring", unit="run", delay=2, leave=False, disable=None)
    }
    return Comparison(values, against)


def _scored(path, name: str, qrels, measures, note) -> dict[str, dict[str, float]]:
    run = read_run(path, name)
    try:
        values = evaluate(run, qrels, measures)
    except JPQError as error:
        raise JPQError(f"{path}: {error}") from None
    if unanswered := [qid for qid in qrels if qid not in run]:
        note(
            f"{name}: no result for {len(unanswered)} of the {len(qrels)} judged queries, which count zero "
            f"(first: {unanswered[0]})"
        )
    return values


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.compare",
        description="Score retrieval runs with trec_eval's measures and compare them in one table.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--qrels", required=True, metavar="Q", help="qrels file, or a qrels name that Pyserini knows")
    add(
        "--run",
        required=True,
        action="append",
        metavar="[NAME=]RUN",
        help="TREC or MS MARCO run file, .gz too; repeat for each run (default name: the file's)",
    )
    add(
        "--measures",
        nargs="+",
        default=list(DEFAULT_MEASURES),
        metavar="M",
        help=f"RR, nDCG, AP, with or without @K; R@K, P@K, Success@K (default: {' '.join(DEFAULT_MEASURES)})",
    )
    add("--against", metavar="NAME", help="test the other runs against this one: two-tailed paired t-test")
    add("--format", choices=("text", "markdown", "json"), default="text", help="default: text")
    add("--output", metavar="FILE", help="write the table to FILE instead of printing it")
    add("--per-query", metavar="FILE", help="also write every query's values: TSV of qid, run, measure, value")
    return parser


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
