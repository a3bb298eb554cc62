"""The command line of ``python -m jpq_pyserini.eval.figures``: flags, and help with an example each."""

import argparse

from jpq_pyserini.cli import (
    add_command,
    add_docids,
    add_embeddings,
    add_qrels,
    add_runs,
    add_seed,
    add_topics,
    new_parser,
    positive_int,
)
from jpq_pyserini.eval.figures.paper import COLLECTIONS
from jpq_pyserini.eval.figures.style import COLUMN_CM

_DESCRIPTION = """\
Draw the figures of the JPQ paper from your own runs and indexes. Each command writes three files: OUTPUT.png,
OUTPUT.svg, and OUTPUT.json with the numbers behind them.
"""
_EPILOG = """\
size, memory and speed read the facts of a run, such as its bytes per document, from a file beside it: those of
runs/jpq.txt are in runs/jpq.facts.json. Written by hand:
  {"title": "JPQ, M=48", "group": "JPQ", "documents": 20958, "bytes_per_document": 94.9, "ms_per_query": 0.58}
Runs of one group look alike and are joined by a line. FIGURE --help has an example of each.
"""
_EXAMPLES = {
    "size": """\
example (figure 1, your runs among those of the paper):
  jpq figures size --qrels qrels.dev.txt --published marco-passage --total \\
      --run OPQ=runs/opq.txt --run JPQ=runs/jpq.txt --output figures/size
""",
    "memory": """\
example (compression ratios as in the paper, flat being 1):
  jpq figures memory --qrels qrels.test.txt --uncompressed flat --output figures/memory \\
      --run flat=runs/flat.txt --run runs/opq16.txt --run runs/opq48.txt --run runs/jpq16.txt --run runs/jpq48.txt
""",
    "speed": """\
example (queries a second; with --uncompressed flat, how many times as fast as flat):
  jpq figures speed --qrels qrels.test.txt --output figures/speed \\
      --run flat=runs/flat.txt --run runs/ivf8.txt --run runs/ivf32.txt --run JPQ=runs/jpq.txt
""",
    "ablation": """\
example (a name without @M is a horizontal line):
  jpq figures ablation --qrels qrels.test.txt --measures RR@10 R@100 --output ablation \\
      --run OPQ@16=opq16.txt --run OPQ@48=opq48.txt --run JPQ@16=jpq16.txt --run JPQ@48=jpq48.txt --run flat=flat.txt
runs called so can be scored by "jpq compare --format json --output scores.json" as well: then
  jpq figures ablation --scores scores.json --output figures/ablation
""",
    "negatives": """\
example (before and after training):
  jpq figures negatives --embeddings flat --index OPQ=opq48 --index JPQ=jpq48 \\
      --topics queries.test.tsv --qrels qrels.test.txt --qid 443396 --output figures/negatives
""",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m jpq_pyserini.eval.figures``, one sub-command a figure."""
    whole = new_parser("jpq_pyserini.eval.figures", _DESCRIPTION, _EPILOG)
    figures = whole.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    one = _figure(figures, "size", "effectiveness against index size (the paper's figures 1 and 6)")
    _add_scored(one)
    _add_published(one)
    one.add_argument("--total", action="store_true", help="size of the whole index, MB or GB; needs the fact documents")
    one = _figure(figures, "memory", "effectiveness against memory (figure 4): up and right is better")
    _add_scored(one)
    _add_published(one)
    _add_uncompressed(one, "compression ratio to it, as in the paper (default: bytes per document, reversed)")
    one = _figure(figures, "speed", "effectiveness against speed (figure 5): up and right is better")
    _add_scored(one)
    _add_published(one)
    _add_uncompressed(one, "speed-up over it, as in the paper (default: queries per second)")
    one.add_argument("--with-encoding", action="store_true", help="include query encoding; needs encode_ms_per_query")
    one = _figure(figures, "ablation", "what each strategy adds, over M (figure 7)")
    _add_scored(one, "STRATEGY@M=RUN")
    one.add_argument("--scores", metavar="FILE", help="draw these scores instead of runs: JSON written by eval.compare")
    _add_negatives(_figure(figures, "negatives", "t-SNE of brute-force and JPQ negatives (figure 3)"))
    return whole


def _figure(figures, name: str, words: str) -> argparse.ArgumentParser:
    added = add_command(figures, name, words, f"Draw {words}.", _EXAMPLES[name])
    add = added.add_argument
    add("--output", required=True, metavar="OUTPUT", help="path without ending, for OUTPUT.png, .svg and .json")
    column = f"one column, {COLUMN_CM}" + ("; two for several indexes" if name == "negatives" else "")
    add("--width", type=_centimetres, metavar="CM", help=f"printed width in centimetres (default: {column})")
    return added


def _add_scored(one: argparse.ArgumentParser, form: str = "[NAME=]RUN") -> None:
    add_qrels(one, "relevance judgements of the runs' queries", required=False)
    add_runs(one, "runs to draw", required=False, metavar=form)
    one.add_argument("--measures", nargs="+", default=["RR@10"], metavar="M", help="measures, one panel each")


def _add_published(one: argparse.ArgumentParser) -> None:
    known = ", ".join(COLLECTIONS)
    words = f"published results, drawn hollow: JSON or YAML, or those of the paper's tables: {known}; repeat for more"
    one.add_argument("--published", action="append", default=[], metavar="FILE", help=words)


def _add_uncompressed(one: argparse.ArgumentParser, words: str) -> None:
    one.add_argument("--uncompressed", metavar="NAME", help=f"name of the run of the flat index: draw the {words}")


def _add_negatives(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--index", required=True, action="append", metavar="[NAME=]DIR", help="JPQ index; repeat for a column each")
    add_embeddings(one, "embeddings that the indexes were made from")
    add_docids(one)
    add_topics(one)
    add_qrels(one, "relevance judgements: relevant documents are no negatives")
    add("--qid", nargs="+", metavar="QID", help="queries to draw, a row each (default: the first two)")
    add("--negatives", type=positive_int, default=200, metavar="N", help="negatives of each search; 200 in training")
    add("--encoder", metavar="NAME", help="query encoder for both searches (default: each index's own)")
    add_seed(one, "random seed of t-SNE")


def _centimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 4 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no width of 4 to 100 centimetres")
    return value
