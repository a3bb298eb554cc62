"""Product quantization of Faiss whose best candidates are scored again by int8 vectors, all in memory.

``PQ…,Refine(SQ8)``: the codes propose ``k_factor`` times as many documents as are wanted. The int8 vectors lie in
memory beside the codes and make most of the size; ``--rescore`` measures the same with vectors on disk.
"""

from functools import partial

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher, built, check_divides
from jpq_pyserini.errors import JPQError


def _refined(fast_scan: bool, data: Data) -> FaissSearcher:
    if fast_scan and data.dimension % (2 * data.bytes):
        raise JPQError(f"2·{data.bytes} codes do not divide dimension {data.dimension}: choose --bytes that do")
    codes = f"PQ{2 * data.bytes}x4fs" if fast_scan else f"PQ{check_divides(data)}x8"
    index = built(f"{codes},Refine(SQ8)", data)
    return FaissSearcher(index, set_=lambda factor: setattr(index, "k_factor", factor))


SYSTEMS = tuple(
    System(
        name,
        title,
        "compressed",
        partial(_refined, fast_scan),
        parameters=parameters,
        setting=("k_factor", (1, 2, 4, 8)),
        trained_on=TRAINING_ROWS,
    )
    for name, title, fast_scan, parameters in (
        ("pq-refined", "PQ, refined by int8", False, lambda data: f"{data.bytes}x8"),
        ("fastscan-refined", "PQ fast-scan, refined by int8", True, lambda data: f"{2 * data.bytes}x4"),
    )
)
