"""The mathematics of product quantization: embeddings in, codes and centroids out. Nothing here reads a collection."""

from jpq_pyserini.codec.assignment import Nearest, ScoreAware
from jpq_pyserini.codec.codes import assign, pack_codes, unpack_codes
from jpq_pyserini.codec.quantizer import ProductQuantizer

__all__ = ["Nearest", "ProductQuantizer", "ScoreAware", "assign", "pack_codes", "unpack_codes"]
