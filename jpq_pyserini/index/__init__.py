"""JPQIndex: a JPQ index directory, which is also a Pyserini index folder.

::

    DIR/index               what faiss.read_index gives; takes unrotated query embeddings
    DIR/docid               one external id a line, row order
    DIR/jpq.json            the record: what this is, how it was made, sha256 of the other files
    DIR/codec.safetensors   assignment centroids, if they are not those in DIR/index
    DIR/vectors.safetensors the documents' real vectors, if they are kept
    DIR/query_encoder/      the trained query encoder (a sentence-transformers folder)

Pyserini opens only ``index`` and ``docid``; the rest sits beside them. Nothing here imports Pyserini.
"""

from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.directory import IndexDirectory, check_parts, save_flat_index
from jpq_pyserini.index.record import (
    FLAT_LAYOUT,
    FORMAT_VERSION,
    IndexRecord,
    library_versions,
    query_encoder_path,
    write_record,
)

__all__ = [
    "FLAT_LAYOUT",
    "FORMAT_VERSION",
    "IndexDirectory",
    "IndexRecord",
    "JPQIndex",
    "check_parts",
    "library_versions",
    "query_encoder_path",
    "save_flat_index",
    "write_record",
]
