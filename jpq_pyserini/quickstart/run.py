"""The quickstart, from the collection to the table."""

import time

from jpq_pyserini.quickstart import report
from jpq_pyserini.quickstart.commands import shown
from jpq_pyserini.quickstart.settings import Settings
from jpq_pyserini.quickstart.stages import Stages


def run(settings: Settings) -> None:
    """Do all stages and print the table."""
    started = time.perf_counter()
    stages = Stages(settings)
    print(f"Quickstart in {stages.directory}; encoder: {stages.encoder}")
    _headline(1, "Collection")
    collection = stages.make_collection()
    _headline(2, "BM25: index and search")
    bm25 = stages.search("BM25", stages.index_bm25(collection))
    _headline(
        3, "Passages to embeddings: the flat index, as 'python -m pyserini.encode ... output --to-faiss' makes it"
    )
    flat = stages.encode(collection)
    _headline(4, "OPQ: compressed, not trained; what JPQ starts from")
    opq = stages.train("OPQ", 0, flat)
    stages.search("OPQ", opq)
    _headline(5, "Flat: exact search, not compressed")
    stages.search("flat", [flat, opq])
    _headline(6, "JPQ: centroids and query encoder trained together")
    jpq = stages.train("JPQ", settings.epochs, flat)
    _headline(7, "JPQ, searched by Pyserini")
    jpq_run = stages.search("JPQ", jpq)
    _headline(8, "Hybrid: JPQ and BM25, weighted so that both scores spread equally (no judgements used)")
    stages.search("hybrid", [jpq_run, bm25])
    _headline(9, "Milliseconds a query: one query at a time, one thread")
    timing = stages.time([jpq, opq, bm25])
    _headline(10, "Result")
    print(report.result(stages, timing))
    print(f"\nEverything is in {stages.directory}. Try next:\n{_next_commands(stages)}")
    seconds = time.perf_counter() - started
    done = ", ".join(f"{name} {duration:.0f} s" for name, duration in stages.workspace.seconds.items())
    print(f"\nTotal {seconds // 60:.0f} min {seconds % 60:.0f} s ({done or 'everything was done before'})")


def _headline(number: int, text: str) -> None:
    print(f"\n[{number}/10] {text}")


def _next_commands(stages: Stages) -> str:
    topics, qrels, jpq = stages.collection.topics("test"), stages.collection.qrels("test"), stages.indexes["JPQ"]
    named = [word for name, path in stages.runs.items() for word in ("--run", f"{name}={path}")]
    lines = [
        ("compare the runs", ["-m", "jpq_pyserini.eval.compare", "--qrels", qrels, *named, "--against", "OPQ"]),
        (
            "score as trec_eval does",
            ["-m", "pyserini.eval.trec_eval", "-c", "-m", "recall.100", qrels, stages.runs["JPQ"]],
        ),
        (
            "pseudo-relevance feedback on the compressed index",
            [
                *("-m", "pyserini.search.faiss", "--encoder", "jpq", "--index", jpq, "--topics", topics),
                *("--prf-depth", 3, "--prf-method", "avg", "--output", stages.directory / "runs" / "jpq-prf.txt"),
            ],
        ),
        (
            "the same on your own collection",
            [*("-m", "jpq_pyserini.quickstart", "--corpus", "corpus.jsonl", "--topics", "topics.tsv"), *_OWN],
        ),
    ]
    return "\n".join(f"  # {text}\n  {shown(command)}" for text, command in lines)


_OWN = ("--qrels", "qrels.txt", "--output", "my-quickstart")
