"""Make one run of several: ``python -m jpq_pyserini.eval.fusion --help``."""

import argparse
from collections.abc import Mapping, Sequence

from jpq_pyserini.cli import add_output, add_qrels, add_runs, bounded, new_parser, positive_int, run_main, say
from jpq_pyserini.data.runs import named_paths, read_run, write_run
from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.errors import JPQError
from jpq_pyserini.eval.fusion.fusing import METHODS, NORMALISATIONS, FusedRun, Fusion, balanced_weights, default_weights
from jpq_pyserini.eval.fusion.tuning import Tuning, simplex, tune
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.storage import check_outputs
from jpq_pyserini.tables import as_text

_EXAMPLE = """\
example: BM25 and JPQ by reciprocal rank, then interpolated with weights tuned on dev queries
  jpq fusion --run BM25=bm25.txt --run JPQ=jpq.txt --method rrf --output rrf.txt
  jpq fusion --run BM25=bm25.txt --run JPQ=jpq.txt --method interpolation \\
      --tune-run BM25=dev.bm25.txt --tune-run JPQ=dev.jpq.txt --tune-qrels qrels.dev.txt --output hybrid.txt

The first equals "python -m pyserini.fusion --method rrf". With --method interpolation, --normalise min-max --weights
1 1 equals its --method normalize, and --normalise none --weights ALPHA 1, the sparse run first, the formula of
"python -m pyserini.search.hybrid … fusion --alpha ALPHA". Unlike there, a single hit, equal scores or no hits at all in
one run never end in a division by zero or NaN, and equal scores always come in the same order, trec_eval's.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, choose the weights, fuse, write."""
    from tqdm import tqdm

    args = _parser().parse_args(argv)
    paths = named_paths(args.run)
    tune_paths = named_paths(args.tune_run, "--tune-run")
    _check(args, paths, tune_paths)
    check_outputs([args.output], [*paths.values(), *tune_paths.values(), args.tune_qrels])
    fusion = Fusion(args.method, args.normalise, None, args.rrf_k, args.depth, args.hits)
    if tune_paths:
        dev = [read_run(tune_paths[name], name) for name in paths]
        tuning = tune(dev, read_qrels(args.tune_qrels), fusion, measure=args.tune_measure, step=args.tune_step)
        say(curve_table(list(paths), tuning))
        weights = tuning.best
    runs = [read_run(path, name) for name, path in paths.items()]
    if not tune_paths:
        weights = _weights(args, runs)
    fused = FusedRun(runs, Fusion(args.method, args.normalise, weights, args.rrf_k, args.depth, args.hits))
    queries = tqdm(fused.items(), "fusing", unit="query", delay=2, leave=False, disable=None)
    lines = write_run(args.output, queries, args.tag)
    chosen = ", ".join(f"{name} {weight:.4g}" for name, weight in zip(paths, weights, strict=True))
    how = args.method if args.method == "rrf" else f"{args.method}, {args.normalise}"
    say(f"{how}; weights {chosen}: {len(fused):,} queries, {lines:,} lines in {args.output}")


def curve_table(names: Sequence[str], tuning: Tuning) -> str:
    """Return a row for each point of the grid, the chosen one marked ``>``."""
    rows = [("", *names, tuning.measure)]
    for weights, value in tuning.curve.items():
        chosen = ">" if weights == tuning.best else ""
        rows.append((chosen, *(f"{weight:.4g}" for weight in weights), f"{value:.4f}"))
    return f"{tuning.measure} on {tuning.queries:,} dev queries by weight\n{as_text(rows)}"


def _check(args, paths: Mapping[str, str], tune_paths: Mapping[str, str]) -> None:
    """Say what is wrong with the options before anything is read, which may take minutes."""
    if len(paths) < 2:
        raise JPQError(f"fusion takes two runs or more, got {len(paths)}: repeat --run NAME=RUN")
    if not args.tag or len(args.tag.split()) != 1:
        raise JPQError(f"--tag {args.tag!r}: give one word, it is the last column of the run")
    if bool(tune_paths) != (args.tune_qrels is not None):
        raise JPQError("--tune-run and --tune-qrels go together: runs on dev queries, and the qrels of those")
    if not tune_paths:
        return
    if args.weights is not None:
        raise JPQError("--weights and --tune-run: weights are either given or tuned")
    if tune_paths.keys() != paths.keys():
        raise JPQError(
            f"--tune-run names {', '.join(tune_paths)} but --run names {', '.join(paths)}: give each system's run on "
            "the dev queries under the same name"
        )
    parse_measure(args.tune_measure)
    next(simplex(len(paths), args.tune_step))


def _weights(args, runs) -> tuple[float, ...]:
    """Return the weights that the options give without tuning."""
    if args.weights is None:
        return default_weights(args.method, len(runs))
    if args.weights == ["balanced"]:
        if args.method == "rrf" or args.normalise != "none":
            raise JPQError("--weights balanced brings unequal score scales together: use --normalise none with it")
        return balanced_weights(runs)
    try:
        return tuple(map(float, args.weights))
    except ValueError:
        raise JPQError(f"--weights {' '.join(args.weights)}: give one number a run, or the word balanced") from None


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("jpq_pyserini.eval.fusion", "Fuse the runs of several systems into one.", _EXAMPLE)
    add_runs(parser, "runs to fuse, two or more")
    add = parser.add_argument
    add("--method", choices=METHODS, default="rrf", help="reciprocal rank fusion, or a weighted sum of scores")
    add(
        "--normalise",
        "--normalize",
        choices=NORMALISATIONS,
        default="min-max",
        help="how interpolation normalises the scores of each query before the weighted sum",
    )
    add(
        "--weights",
        nargs="+",
        metavar="W",
        help="one per run, in their order (default: equal); the word balanced: weights that give unnormalised scores "
        "equal spread",
    )
    add(
        "--rrf-k",
        "--rrf.k",
        type=bounded(float, 0, 1e6),
        default=60.0,
        metavar="K",
        help="constant k of reciprocal rank fusion",
    )
    add("--depth", type=positive_int, default=1000, metavar="N", help="hits of each run that count, per query")
    add("--hits", type=positive_int, default=1000, metavar="N", help="hits to write per query")
    add("--tag", "--runtag", default="fusion", metavar="TAG", help="run tag, the last column of the run")
    add_output(parser, "run to write, best hit first; gzipped if named .gz", "RUN")
    tuning = parser.add_argument_group(
        "weights tuned on development queries", "all multiples of a step that sum to 1 are tried"
    )
    add_runs(tuning, "each system's run on the dev queries", "--tune-run", required=False, metavar="NAME=RUN")
    add_qrels(tuning, "relevance judgements of the dev queries", "--tune-qrels", required=False)
    tuning.add_argument("--tune-measure", default="RR@10", metavar="M", help="measure to maximise")
    tuning.add_argument(
        "--tune-step", type=bounded(float, 0.001, 1), default=0.05, metavar="X", help="step between weights"
    )
    return parser


if __name__ == "__main__":
    run_main(main)
