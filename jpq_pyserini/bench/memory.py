"""``python -m jpq_pyserini.bench.memory``: the memory that training takes against the size of the collection.

For each number of documents a synthetic flat folder is written and ``python -m jpq_pyserini.train`` run on it in a
child process that cannot get more than ``--limit`` of private memory (RLIMIT_DATA), however much the machine has. The
figure is the peak of *anonymous* memory (RssAnon of /proc): pages of mapped files, which the system drops when it
needs them, are not counted. Linux only.
"""

import argparse
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.cli import command_line, run_main
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import library_versions
from jpq_pyserini.storage import new_file

_RANK, _CHUNK = 64, 1 << 15
_WORDS = tuple(first + second for first in "bcdfgklmnprstv" for second in "aeiou")
_QUERIES = 64
_TICK = 0.02  # seconds between two looks at the child
_MB = 1e6


def write_folder(path: Path, documents: int, dimension: int, seed: int) -> int:
    """Write a flat Faiss folder of random embeddings of rank 64, a chunk at a time; returns its bytes."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((_RANK, dimension), dtype=np.float32) / dimension**0.5
    path.mkdir(parents=True)
    with open(path / "index", "wb") as file:  # faiss/impl/index_write.cpp: an IndexFlatIP
        dummy = 1 << 20
        file.write(struct.pack("<4siqqqBi", b"IxFI", dimension, documents, dummy, dummy, 1, 0))
        file.write(struct.pack("<Q", documents * dimension))
        for start in range(0, documents, _CHUNK):
            rows = min(_CHUNK, documents - start)
            file.write((rng.standard_normal((rows, _RANK), dtype=np.float32) @ basis).tobytes())
    with open(path / "docid", "w", encoding="utf-8") as file:
        file.writelines(f"document-{row:09d}\n" for row in range(documents))
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


def watch(command: Sequence[str], limit: int) -> dict[str, float]:
    """Run a command that may not take more than ``limit`` bytes of private memory.

    Returns:
        ``peak_anonymous`` bytes, sampled; ``peak_resident`` bytes, mapped files among them; ``seconds``.

    Raises:
        JPQError: it failed; the message has its last line.
    """
    started, peak, resident = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        try:
            while child.poll() is None:
                found = _status(child.pid)
                peak, resident = max(peak, found.get("RssAnon", 0)), max(resident, found.get("VmHWM", 0))
                time.sleep(_TICK)
        finally:
            child.kill()
        if child.returncode != 0:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["nothing said"])[-1]
            raise JPQError(f"training under a limit of {limit / _MB:,.0f} MB ended with {child.returncode}: {last}")
    return {"peak_anonymous": peak, "peak_resident": resident, "seconds": round(time.perf_counter() - started, 1)}


def measure(documents: int, args: argparse.Namespace, work: Path) -> dict:
    """Write a folder of that many documents, train on it, remove it; returns the figures."""
    folder = work / f"flat-{documents}"
    try:
        size = write_folder(folder, documents, args.dimension, args.seed)
        write_queries(work, documents, args.seed)
        command = [sys.executable, "-m", "jpq_pyserini.train", "--embeddings", folder, "--encoder", args.encoder]
        command += ["--topics", work / "topics.tsv", "--qrels", work / "qrels.txt", "--output", work / "index"]
        command += ["--sub-vectors", args.m, "--max-steps", args.steps, "--epochs", args.steps]
        command += ["--opq-sample", args.opq_sample, "--opq-iterations", args.opq_iterations, "--seed", args.seed]
        found = watch([str(each) for each in command], round(args.limit * _MB))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work / "index", ignore_errors=True)
        shutil.rmtree(work / "index.checkpoint", ignore_errors=True)
    return {"documents": documents, "folder": size, "codes": documents * args.m, **found}


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(prog="python -m jpq_pyserini.bench.memory", description=__doc__)
    add = parser.add_argument
    add("--documents", type=int, nargs="+", default=[500_000, 2_000_000], metavar="N")
    add("--dimension", type=int, default=768, metavar="D")
    add("--m", type=int, default=48)
    add("--limit", type=float, default=1500, metavar="MB", help="private memory a run may take (default: 1500)")
    add("--steps", type=int, default=5, help="training steps (default: 5)")
    add("--opq-sample", type=int, default=16384, metavar="N", help="its memory does not depend on the documents")
    add("--opq-iterations", type=int, default=5, metavar="N")
    add("--encoder", metavar="NAME", help="encoder of that dimension (default: a tiny one, made on the spot)")
    add("--work", metavar="DIR", help="where the folders are written and removed (default: the temporary directory)")
    add("--seed", type=int, default=42)
    add("--output", metavar="F", help="also write the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jpq-memory-", dir=args.work) as work:
        args.encoder = args.encoder or str(write_encoder(Path(work, "encoder"), args.dimension))
        rows = []
        print(f"{'documents':>12}{'folder MB':>12}{'limit MB':>10}{'codes MB':>10}{'peak MB':>10}{'seconds':>9}")
        for documents in args.documents:
            row = measure(documents, args, Path(work))
            rows.append(row)
            sizes = f"{row['folder'] / _MB:12,.0f}{args.limit:10,.0f}{row['codes'] / _MB:10,.0f}"
            print(f"{documents:12,}{sizes}{row['peak_anonymous'] / _MB:10,.0f}{row['seconds']:9,.0f}", flush=True)
    figures = {"limit": round(args.limit * _MB), "sizes": rows}
    if len(rows) > 1:
        grown = rows[-1]["peak_anonymous"] - rows[0]["peak_anonymous"]
        figures["bytes_per_document"] = round(grown / (rows[-1]["documents"] - rows[0]["documents"]), 1)
        print(f"{figures['bytes_per_document']} bytes more for each document, of which codes are {args.m}")
    if args.output:
        command = command_line("jpq_pyserini.bench.memory", _without_places(sys.argv[1:]))
        with new_file(args.output) as file:
            json.dump({"command": command, "versions": library_versions(), **figures}, file, indent=1)
            file.write("\n")


def _without_places(arguments: list[str]) -> list[str]:
    """Drop ``--work`` and ``--output``, which say nothing of the figures."""
    places = [i for i, each in enumerate(arguments) if each in ("--work", "--output")]
    return [each for i, each in enumerate(arguments) if i not in places and i - 1 not in places]


def _status(pid: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status in bytes; nothing when the process has ended."""
    try:
        lines = Path("/proc", str(pid), "status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(value) for name, value, _ in sizes}


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run_main(main)
