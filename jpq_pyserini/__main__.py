"""``jpq``, or ``python -m jpq_pyserini``: every command of the package, each imported only when it is called."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from jpq_pyserini import __version__
from jpq_pyserini.cli import run_main, say
from jpq_pyserini.errors import JPQError

#: Heading -> command -> (module, what it does).
COMMANDS = {
    "Start": {
        "quickstart": ("quickstart", "train, search and compare on a small collection made on this machine"),
        "doctor": ("doctor", "check the installation and suggest fixes"),
        "prebuilt": ("prebuilt.__main__", "list, download and package prebuilt indexes"),
    },
    "Make indexes": {
        "train": ("train.__main__", "train a JPQ index from the embeddings of a collection"),
        "index": ("index.__main__", "encode a corpus; describe, add to, merge, build and convert index directories"),
        "distributed": ("distributed.__main__", "code, embed and search a collection on several machines, with Ray"),
    },
    "Evaluate runs": {
        "compare": ("eval.compare", "score runs and compare them in one table, with significance tests"),
        "fusion": ("eval.fusion.__main__", "fuse the runs of several systems, with weights tuned if wanted"),
        "rerank": ("eval.rerank.__main__", "re-rank a run with a cross-encoder"),
        "rerank-train": ("eval.rerank.train", "fine-tune a cross-encoder"),
        "figures": ("eval.figures.__main__", "draw trade-offs of effectiveness and size or speed, and negatives"),
        "submission": ("eval.submission.__main__", "check a run as TREC does and write the file to submit"),
        "expansion": ("eval.expansion.__main__", "make a BM25 corpus of doc2query or DeepCT/HDCT output"),
        "reproduce": ("eval.reproduce.__main__", "run an experiment of the paper or your own and check its numbers"),
    },
    "Measure speed and memory": {
        "latency": ("bench.latency.__main__", "compare the latency, size and effectiveness of search systems"),
        "gpu": ("bench.gpu.__main__", "measure search, training and encoding on a GPU"),
        "backends": ("bench.backends", "time a query encoder in torch, ONNX and OpenVINO"),
        "nprobe": ("bench.nprobe", "find how many inverted lists a query must visit"),
        "memory": ("bench.memory", "measure the memory that training takes"),
        "scale": ("bench.distributed", "measure what coding a collection on several machines costs"),
        "train-step": ("bench.train_step", "time the parts of a training step"),
    },
}
_BY_NAME = {name: entry for group in COMMANDS.values() for name, entry in group.items()}


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the command that the first argument names with the arguments after it; without one, list all commands.

    Raises:
        JPQError: there is no command of that name.
    """
    name, *rest = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("help", "--help", "-h"):
        say(_overview())
        return 0
    if name == "--version":
        say(f"jpq_pyserini {__version__}")
        return 0
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=2, cutoff=0.5)
        remedy = f"did you mean {' or '.join(near)}? " if near else ""
        raise JPQError(f"jpq {name}: no such command; {remedy}`jpq --help` lists all")
    sys.argv[:] = [f"jpq {name}", *rest]  # what commands read, and how their usage line names them
    return importlib.import_module(f"jpq_pyserini.{_BY_NAME[name][0]}").main()


def console() -> None:
    """Run ``jpq`` as a process."""
    run_main(main)


def _overview() -> str:
    lines = ["usage: jpq COMMAND ...     (the same as python -m jpq_pyserini COMMAND ...)", ""]
    for heading, commands in COMMANDS.items():
        lines += [heading, *(f"  {name:14}{summary}" for name, (_, summary) in commands.items()), ""]
    lines.append("`jpq COMMAND --help` says more. Indexes are searched by Pyserini's own commands, for instance")
    lines.append("`python -m pyserini.search.faiss --encoder jpq --index DIR --topics TOPICS --output RUN`.")
    return "\n".join(lines)


if __name__ == "__main__":
    console()
