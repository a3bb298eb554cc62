"""``python -m jpq_pyserini.eval.figures FIGURE``: the figures of the paper, from runs and indexes at hand."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jpq_pyserini.eval.compare import compare, named_paths
from jpq_pyserini.eval.figures import ablation, points, style, tradeoff
from jpq_pyserini.eval.measures import parse_measure

from jpq_pyserini.cli import run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.storage import new_file
from jpq_pyserini.topics import read_qrels, read_topics, training_pairs

_DESCRIPTION = """\
Draw the figures of the JPQ paper from your own runs and indexes. Each command writes three files: OUTPUT.png,
OUTPUT.svg, and OUTPUT.json with the numbers behind them.
"""
_EPILOG = """\
size, memory and speed read the facts of a run, like its bytes a document, from a file beside it: those of runs/jpq.txt
are in runs/jpq.facts.json. By hand it is
  {"title": "JPQ, M=48", "group": "JPQ", "documents": 20958, "bytes_per_document": 94.9, "ms_per_query": 0.58}
Runs of one group look alike and are joined by a line. FIGURE --help has an example of each.
"""
_EXAMPLES = {
    "size": """\
example (figure 1, your runs among those of the paper):
  python -m jpq_pyserini.eval.figures size --qrels qrels.dev.txt --published marco-passage --total \\
      --run OPQ=runs/opq.txt --run JPQ=runs/jpq.txt --output figures/size
""",
    "memory": """\
example (compression ratios as in the paper, flat being 1):
  python -m jpq_pyserini.eval.figures memory --qrels qrels.test.txt --uncompressed flat --output figures/memory \\
      --run flat=runs/flat.txt --run runs/opq16.txt --run runs/opq48.txt --run runs/jpq16.txt --run runs/jpq48.txt
""",
    "speed": """\
example (queries a second; with --uncompressed flat, how many times as fast as flat):
  python -m jpq_pyserini.eval.figures speed --qrels qrels.test.txt --output figures/speed \\
      --run flat=runs/flat.txt --run runs/ivf8.txt --run runs/ivf32.txt --run JPQ=runs/jpq.txt
""",
    "ablation": """\
example (a name without @M is a horizontal line):
  python -m jpq_pyserini.eval.figures ablation --qrels qrels.test.txt --measures RR@10 R@100 --output ablation \\
      --run OPQ@16=opq16.txt --run OPQ@48=opq48.txt --run JPQ@16=jpq16.txt --run JPQ@48=jpq48.txt --run flat=flat.txt
runs called so can be scored by "python -m jpq_pyserini.eval.compare --format json --output scores.json" as well: then
  python -m jpq_pyserini.eval.figures ablation --scores scores.json --output figures/ablation
""",
    "negatives": """\
example (before and after training):
  python -m jpq_pyserini.eval.figures negatives --embeddings flat --index OPQ=opq48 --index JPQ=jpq48 \\
      --topics queries.test.tsv --qrels qrels.test.txt --qid 443396 --output figures/negatives
""",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, write, say where."""
    args = _parser().parse_args(argv)
    command = shlex.join(["python", "-m", "jpq_pyserini.eval.figures", *(sys.argv[1:] if argv is None else argv)])
    with style.in_print():
        figure, drawn = args.make(args)
        output = Path(args.output)
        output = output.with_suffix("") if output.suffix in (".png", ".svg", ".json") else output
        written = style.save(figure, output)
    written.append(Path(f"{output}.json"))
    with new_file(written[-1]) as file:
        file.write(
            json.dumps({"figure": args.figure, "command": command, **drawn}, indent=2, ensure_ascii=False) + "\n"
        )
    print("wrote " + ", ".join(map(str, written)))


def _tradeoff(args):
    _check_measures(args.measures)
    runs = named_paths(args.run)
    if not runs and not args.published:
        raise JPQError("nothing to draw: give --run NAME=RUN, --published, or both")
    if runs and args.qrels is None:
        raise JPQError("--qrels is missing: give the judgements of the runs' queries")
    qrels = read_qrels(args.qrels) if runs else {}
    found = [point for each in args.published for point in points.of_publications(each, args.measures)]
    # First what was published: its looks then do not depend on the runs, and the runs are drawn above it.
    found = points.of_runs(runs, qrels, args.measures, _note) + found
    scale = args.scale(found, **{name: getattr(args, name) for name in args.scale_options})
    figure, drawn = tradeoff.draw(found, args.measures, scale, width=args.width)
    return figure, {"queries": len(qrels), "x": scale.label, "points": drawn}


def _ablation(args):
    _check_measures(args.measures)
    if (args.scores is None) == (not args.run):
        raise JPQError("give either --run STRATEGY@M=RUN …, or --scores with what eval.compare wrote")
    if args.scores is not None:
        means = ablation.read_scores(args.scores, args.measures)
    else:
        if args.qrels is None:
            raise JPQError("--qrels is missing: give the judgements of the runs' queries")
        runs = named_paths(args.run)
        ablation.strategies({name: {} for name in runs})  # before the minutes that scoring may take
        means = compare(runs, read_qrels(args.qrels), args.measures, note=_note).means()
    figure, drawn = ablation.draw(means, args.measures, width=args.width)
    return figure, {"points": drawn}


def _negatives(args):
    from jpq_pyserini.eval.figures import negatives

    from jpq_pyserini import JPQIndex
    from jpq_pyserini.docids import RowsByDocid
    from jpq_pyserini.flat import FlatFolder
    from jpq_pyserini.text_encoder import embed_queries, load_text_encoder

    if args.negatives < 1:
        raise JPQError(f"--negatives {args.negatives}: at least one is needed to draw")
    flat = FlatFolder.open(args.embeddings)
    rows = RowsByDocid(flat.docids, str(flat.path))
    judged, _ = training_pairs(read_topics(args.topics), read_qrels(args.qrels), rows)
    queries = _chosen(judged, args.qid)
    found, records = [], []
    for name, path in named_paths(args.index, "--index", "DIR").items():
        index = JPQIndex.open(path)
        negatives.check_same_collection(index, flat)
        encoder = load_text_encoder(args.encoder or str(index.query_encoder_path))
        vectors = embed_queries(encoder, [query.text for query in queries])
        if vectors.shape[1] != index.codec.dimension:
            raise JPQError(
                f"--encoder {args.encoder}: dimension {vectors.shape[1]}, {path} has {index.codec.dimension}"
            )
        found += negatives.find(name, index, flat, queries, vectors, args.negatives, seed=args.seed)
    for each in found:
        print(
            f"{each.index}, query {each.qid}: {each.overlap} of {each.count} negatives are those of brute force as well"
        )
        records.append(negatives.record(each, flat.docids))
    return negatives.draw(found, width=args.width), {"seed": args.seed, "panels": records}


def _chosen(judged, qids):
    """Return the queries asked for, by default the first two."""
    by_id = {query.qid: query for query in judged}
    for qid in qids or []:
        if qid not in by_id:
            raise JPQError(
                f"--qid {qid}: no such query with a relevant document in the topics and qrels "
                f"({len(by_id):,} have one, the first is {judged[0].qid})"
            )
    return [by_id[qid] for qid in qids] if qids else judged[:2]


def _check_measures(names: Sequence[str]) -> None:
    for name in names:
        parse_measure(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jpq_pyserini.eval.figures",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    one = _sub(figures, "size", "effectiveness against index size (the paper's figures 1 and 6)", _tradeoff)
    one.add_argument("--total", action="store_true", help="size of the whole index, MB or GB; needs the fact documents")
    one.set_defaults(scale=tradeoff.size, scale_options=["total"])
    one = _sub(figures, "memory", "effectiveness against memory (figure 4): up and right is better", _tradeoff)
    _add_uncompressed(one, "compression ratio to it, as in the paper (default: bytes a document, reversed)")
    one.set_defaults(scale=tradeoff.memory, scale_options=["uncompressed"])
    one = _sub(figures, "speed", "effectiveness against speed (figure 5): up and right is better", _tradeoff)
    _add_uncompressed(one, "speed-up over it, as in the paper (default: queries a second)")
    one.add_argument("--with-encoding", action="store_true", help="count the query encoding; needs encode_ms_per_query")
    one.set_defaults(scale=tradeoff.speed, scale_options=["uncompressed", "with_encoding"])
    one = _sub(figures, "ablation", "what each strategy adds, over M (figure 7)", _ablation)
    one.add_argument("--scores", metavar="FILE", help="draw these instead of runs: JSON that eval.compare wrote")
    _add_negatives(_sub(figures, "negatives", "t-SNE of brute-force and JPQ negatives (figure 3)", _negatives))
    return parser


def _sub(figures, name: str, words: str, make) -> argparse.ArgumentParser:
    parser = figures.add_parser(
        name,
        help=words,
        description=f"Draw {words}.",
        epilog=_EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="OUTPUT", help="path without ending, for OUTPUT.png, .svg and .json")
    column = style.COLUMN_CM
    add("--width", type=_centimetres, default=None, metavar="CM", help=f"of the print (default: a column, {column})")
    parser.set_defaults(make=make)
    if make is not _negatives:
        parser.set_defaults(width=column)
        form = "STRATEGY@M" if make is _ablation else "[NAME=]"
        add("--qrels", metavar="Q", help="qrels file, or a qrels name that Pyserini knows")
        add(
            "--run",
            action="append",
            default=[],
            metavar=f"{form.removesuffix('=')}=RUN".replace("]=", "=]"),
            help="run file, .gz too; repeat for each run",
        )
        add("--measures", nargs="+", default=["RR@10"], metavar="M", help="one panel each (default: RR@10)")
    if make is _tradeoff:
        known = ", ".join(points.shipped())
        add(
            "--published",
            action="append",
            default=[],
            metavar="FILE",
            help=f"points of others, drawn hollow: JSON or YAML, or the paper's own: {known}; repeat for more",
        )
    return parser


def _add_uncompressed(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--uncompressed", metavar="NAME", help=f"name of the run of the flat index: draw the {words}")


def _add_negatives(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--index", required=True, action="append", metavar="[NAME=]DIR", help="JPQ index; repeat for a column each")
    add("--embeddings", required=True, metavar="FLAT", help="flat Faiss folder that the indexes were made from")
    add("--topics", required=True, metavar="T", help="queries, as Pyserini takes them")
    add("--qrels", required=True, metavar="Q", help="judgements: relevant documents are no negatives")
    add("--qid", nargs="+", metavar="Q", help="queries to draw, a row each (default: the first two)")
    add("--negatives", type=int, default=200, metavar="N", help="of each search (default: 200, as in training)")
    add("--encoder", metavar="E", help="query encoder of both searches (default: each index's own)")
    add("--seed", type=int, default=42, metavar="N", help="of t-SNE (default: 42)")


def _centimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 4 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no width of 4 to 100 centimetres")
    return value


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
