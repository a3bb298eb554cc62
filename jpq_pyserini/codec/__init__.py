"""The mathematics of product quantization: embeddings in, codes and centroids out. Nothing here reads a collection."""

from jpq_pyserini.codec.quantizer import ProductQuantizer, assign, pack_codes, unpack_codes

__all__ = ["ProductQuantizer", "assign", "pack_codes", "unpack_codes"]
