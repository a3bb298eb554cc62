"""RaBitQ of Faiss: signs after a random rotation, with factors for each document that make the estimate unbiased.

One bit a dimension (Gao and Long, SIGMOD 2024, https://arxiv.org/abs/2405.12497), or 2 and 4 in the extended way (Gao
et al., SIGMOD 2025); ``fs`` scans codes in blocks with rounded tables. Sizes count the factors and the rotation.
"""

from functools import partial

from jpq_pyserini.bench.systems._base import Data, System
from jpq_pyserini.bench.systems._faiss import TRAINING_ROWS, FaissSearcher, built


def _rabitq(key: str, data: Data) -> FaissSearcher:
    return FaissSearcher(built(f"RR{data.dimension},{key}", data))


SYSTEMS = tuple(
    System(name, title, "compressed", partial(_rabitq, key), trained_on=TRAINING_ROWS)
    for name, title, key in (
        ("rabitq", "RaBitQ, 1-bit", "RaBitQ"),
        ("rabitq-fs", "RaBitQ fast-scan, 1-bit", "RaBitQfs"),
        ("rabitq2", "RaBitQ, 2-bit", "RaBitQ2"),
        ("rabitq4", "RaBitQ, 4-bit", "RaBitQ4"),
    )
)
