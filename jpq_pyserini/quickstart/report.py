"""The table at the end of a quickstart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.significance import mark
from jpq_pyserini.names import INDEX

MEASURES = ("RR@10", "R@100")
_SMALL = "So few passages are searched in no time by any index: what differs here is the memory."


def result(stages, timing: Mapping) -> str:
    """Return the table of a finished run and what is to be known about its numbers."""
    import faiss

    comparison = compare(stages.runs, read_qrels(str(stages.collection.qrels("test"))), MEASURES, against="OPQ")
    p_values = comparison.p_values()
    marks = {name: {measure: mark(p) for measure, p in values.items()} for name, values in p_values.items()}
    flat = faiss.read_index(str(stages.indexes["flat"] / INDEX))
    count, dimension, code_bytes = flat.ntotal, flat.d, stages.settings.m
    shared = (stages.indexes["JPQ"] / INDEX).stat().st_size - count * code_bytes
    p_value = p_values["JPQ"]["RR@10"]
    return f"""\
{table(rows(timing["milliseconds"], count, dimension, code_bytes, stages.indexes["BM25"]), comparison.means(), marks)}

{count:,} passages; {comparison.queries:,} test queries, {timing["queries"]} of them timed (medians).
* p<0.05, ** p<0.01 against OPQ (two-tailed paired t-test); JPQ against OPQ in RR@10: p = {p_value:.2g}.
bytes/doc: flat 4 D, OPQ and JPQ M ({4 * dimension / code_bytes:.0f} times smaller). BM25: the Lucene index.
JPQ learnt from the training queries of this collection; flat is the encoder as it came, so JPQ may pass it.
The index file of JPQ holds {shared:,} bytes more for rotation and centroids, however many documents there are.
{_SMALL if count < 100_000 else ""}"""


@dataclass(frozen=True)
class Row:
    """One system: its name, bytes a document (in words), and milliseconds a query without encoding and with it."""

    name: str
    size: str
    search_ms: float
    total_ms: float


def rows(
    milliseconds: Mapping[str, float], documents: int, dimension: int, code_bytes: int, bm25_index: Path
) -> list[Row]:
    """Return the rows of BM25, flat, OPQ, JPQ and hybrid; all dense systems have the same encoder in time."""
    encoding, bm25 = milliseconds["encoding"], milliseconds["BM25"]
    lucene = sum(file.stat().st_size for file in bm25_index.rglob("*") if file.is_file()) / documents
    dense = {"flat": f"{4 * dimension}", "OPQ": f"{code_bytes}", "JPQ": f"{code_bytes}"}
    return [
        Row("BM25", f"{lucene:.0f}", bm25, bm25),
        *(Row(name, size, milliseconds[name], milliseconds[name] + encoding) for name, size in dense.items()),
        Row("hybrid", f"{code_bytes}+{lucene:.0f}", milliseconds["JPQ"] + bm25, milliseconds["JPQ"] + bm25 + encoding),
    ]


def table(rows: list[Row], means: Mapping[str, Mapping[str, float]], marks: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table as text; ``marks`` are those of the t-test."""
    lines = [("", *MEASURES, "bytes/doc", "ms/query search", "with encoding")]
    for row in rows:
        values = (f"{means[row.name][name]:.4f}{marks.get(row.name, {}).get(name, ''):2}" for name in MEASURES)
        lines.append((row.name, *values, row.size, f"{row.search_ms:.2f}", f"{row.total_ms:.2f}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        for cell, width, is_measure in zip(line[1:], widths[1:], [True] * len(MEASURES) + [False] * 3, strict=True):
            cells.append((f"{cell}  " if is_measure and number == 0 else cell).rjust(width))
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
