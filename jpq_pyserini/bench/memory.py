"""``python -m jpq_pyserini.bench.memory``: the memory that training takes against the size of the collection.

For each number of documents a synthetic flat folder is written and ``python -m jpq_pyserini.train`` run on it in a
child process that cannot get more than ``--limit`` of private memory (RLIMIT_DATA), however much the machine has. The
figure is the peak of *anonymous* memory (RssAnon of /proc): pages of mapped files, which the system drops when it
needs them, are not counted. Linux only.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jpq_pyserini import cli, tables
from jpq_pyserini.bench import procfs
from jpq_pyserini.bench.records import check_record, write_record
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError

_MODULE = "jpq_pyserini.bench.memory"
_RANK, _CHUNK = 64, 1 << 15
_WORDS = tuple(first + second for first in "bcdfgklmnprstv" for second in "aeiou")
_QUERIES = 64
_TICK = 0.02  # seconds between two looks at the child
_MB = 1e6


def write_folder(path: Path, documents: int, dimension: int, seed: int) -> int:
    """Write a flat Faiss folder of random embeddings of rank 64, a chunk at a time; returns its bytes."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((_RANK, dimension), dtype=np.float32) / dimension**0.5
    sizes = (min(_CHUNK, documents - start) for start in range(0, documents, _CHUNK))
    chunks = (rng.standard_normal((rows, _RANK), dtype=np.float32) @ basis for rows in sizes)
    FlatFolder.write(path, (f"document-{row:09d}" for row in range(documents)), chunks)
    return sum(each.stat().st_size for each in path.iterdir())


def write_queries(folder: Path, documents: int, seed: int) -> None:
    """Write ``topics.tsv`` and ``qrels.txt``: random words, each query with one relevant document."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, documents, _QUERIES)
    texts = [" ".join(rng.choice(_WORDS, 6)) for _ in range(_QUERIES)]
    (folder / "topics.tsv").write_text("".join(f"{i}\t{text}\n" for i, text in enumerate(texts)), encoding="utf-8")
    lines = [f"{i} 0 document-{row:09d} 1\n" for i, row in enumerate(rows)]
    (folder / "qrels.txt").write_text("".join(lines), encoding="utf-8")


def write_encoder(path: Path, dimension: int) -> Path:
    """Save a one-layer BERT of that dimension with random weights; returns ``path``."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    plain = path / "plain"
    plain.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS]
    (plain / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(plain / "vocab.txt"), model_max_length=32).save_pretrained(plain)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=dimension,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=dimension,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(plain)
    modules = [Transformer(str(plain)), Pooling(dimension, pooling_mode="mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(path), create_model_card=False)
    return path


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        peak_anonymous: largest private memory seen, in bytes, pages of mapped files left out.
        peak_resident: largest resident size in bytes, mapped files included.
        seconds: that it ran.
    """

    peak_anonymous: int
    peak_resident: int
    seconds: float


def watch(command: Sequence[str], limit: int) -> Usage:
    """Run a command that may not take more than ``limit`` bytes of private memory.

    Raises:
        JPQError: it failed; the message has its last line.
    """
    peak, resident = 0, 0
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        started = time.perf_counter()
        try:
            while child.poll() is None:
                sizes = procfs.sizes(child.pid)
                peak, resident = max(peak, sizes.get("RssAnon", 0)), max(resident, sizes.get("VmHWM", 0))
                time.sleep(_TICK)
        finally:
            child.kill()
        if child.returncode != 0:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["nothing said"])[-1]
            raise JPQError(f"training under a limit of {limit / _MB:,.0f} MB ended with {child.returncode}: {last}")
        return Usage(peak, resident, round(time.perf_counter() - started, 1))


def measure_training(documents: int, args: argparse.Namespace, work: Path) -> dict[str, float]:
    """Write a folder of that many documents, train on it, remove it; returns documents, sizes and :class:`Usage`."""
    folder = work / f"flat-{documents}"
    try:
        size = write_folder(folder, documents, args.dimension, args.seed)
        write_queries(work, documents, args.seed)
        command = [sys.executable, "-m", "jpq_pyserini.train", "--embeddings", folder, "--encoder", args.encoder]
        command += ["--topics", work / "topics.tsv", "--qrels", work / "qrels.txt", "--output", work / "index"]
        command += ["--sub-vectors", args.m, "--max-steps", args.steps, "--epochs", args.steps, "--held-out", 0]
        command += ["--opq-sample", args.opq_sample, "--opq-iterations", args.opq_iterations, "--seed", args.seed]
        usage = watch([str(each) for each in command], round(args.limit * _MB))
    finally:
        for left in (folder, work / "index", work / "index.checkpoint"):
            shutil.rmtree(left, ignore_errors=True)
    return {"documents": documents, "folder": size, "codes": documents * args.m, **asdict(usage)}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every size and print the table."""
    args = _parser().parse_args(argv)
    check_record(args)
    if args.dimension % args.m:
        raise JPQError(f"--m {args.m} does not divide --dimension {args.dimension}: choose one that does")
    with tempfile.TemporaryDirectory(prefix="jpq-memory-", dir=args.work) as work:
        args.encoder = args.encoder or str(write_encoder(Path(work, "encoder"), args.dimension))
        rows = []
        for documents in args.documents:
            cli.progress(f"training on {documents:,} documents")
            rows.append(measure_training(documents, args, Path(work)))
    cli.say(as_table(rows, args.limit))
    figures = {"limit": round(args.limit * _MB), "sizes": rows}
    if (more := rows[-1]["documents"] - rows[0]["documents"]) != 0:
        grown = rows[-1]["peak_anonymous"] - rows[0]["peak_anonymous"]
        figures["bytes_per_document"] = round(grown / more, 1)
        cli.say(f"{figures['bytes_per_document']} bytes more for each document, of which codes are {args.m}")
    if args.output:
        write_record(args.output, _MODULE, _without_places(sys.argv[1:] if argv is None else argv), **figures)


def as_table(rows: Sequence[dict[str, float]], limit: float) -> str:
    """Return what :func:`measure_training` found for each size, and the limit in MB, as text."""
    cells: list[tuple[str, ...]] = [("documents", "folder MB", "limit MB", "codes MB", "peak MB", "seconds")]
    for row in rows:
        folder, codes, peak = (row[name] / _MB for name in ("folder", "codes", "peak_anonymous"))
        cells.append(tuple(f"{x:,.0f}" for x in (row["documents"], folder, limit, codes, peak, row["seconds"])))
    return tables.as_text(cells, "r")


def _parser() -> argparse.ArgumentParser:
    parser = cli.new_parser(
        _MODULE,
        "Measure the memory that training takes, on synthetic collections of several sizes: the peak of private memory "
        "of `jpq train`, run under a limit (RLIMIT_DATA). Linux only.",
    )
    add = parser.add_argument
    sizes = "sizes of the collections"
    add("--documents", type=cli.positive_int, nargs="+", default=[500_000, 2_000_000], metavar="N", help=sizes)
    add("--dimension", type=cli.positive_int, default=768, metavar="D", help="dimension of the embeddings")
    add("--m", type=cli.positive_int, default=48, metavar="M", help="bytes per document")
    add(
        "--limit",
        type=cli.bounded(float, 1, 1e9),
        default=1500,
        metavar="MB",
        help="private memory that a run may take",
    )
    add("--steps", type=cli.positive_int, default=5, metavar="N", help="training steps")
    words = "embeddings OPQ is trained on; independent of collection size"
    add("--opq-sample", type=cli.positive_int, default=16384, metavar="N", help=words)
    add("--opq-iterations", type=cli.natural_int, default=5, metavar="N", help="iterations of OPQ")
    add("--encoder", metavar="NAME", help="query encoder of that dimension (default: a tiny random one, made here)")
    add("--work", metavar="DIR", help="folder for the synthetic collections, removed after (default: the system's)")
    cli.add_seed(parser)
    cli.add_output(parser, "JSON file for all figures", required=False)
    return parser


def _without_places(arguments: Sequence[str]) -> list[str]:
    """Drop ``--work`` and ``--output``, which say nothing of the figures."""
    places = [i for i, each in enumerate(arguments) if each in ("--work", "--output")]
    return [each for i, each in enumerate(arguments) if i not in places and i - 1 not in places]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    cli.run_main(main)
