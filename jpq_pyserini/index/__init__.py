"""JPQIndex: a JPQ index directory, which is also a Pyserini index folder.

::

    DIR/index               what faiss.read_index gives; takes unrotated query embeddings
    DIR/docid               one external id a line, row order
    DIR/jpq.json            the record: what this is, how it was made, sha256 of the other files
    DIR/codec.safetensors   assignment centroids, if they are not those in DIR/index
    DIR/vectors.safetensors the documents' real vectors, if they are kept
    DIR/query_encoder/      the trained query encoder (a sentence-transformers folder)

Pyserini opens only ``index`` and ``docid``; the rest sits beside them. Nothing here imports Pyserini.

Public names are imported on first use, so that the record of an index can be read without Faiss.
"""

from typing import TYPE_CHECKING

from jpq_pyserini.lazy import public_names

if TYPE_CHECKING:
    from jpq_pyserini.index.collection import JPQIndex as JPQIndex
    from jpq_pyserini.index.directory import IndexDirectory as IndexDirectory
    from jpq_pyserini.index.directory import check_parts as check_parts
    from jpq_pyserini.index.directory import save_flat_index as save_flat_index
    from jpq_pyserini.index.record import FLAT_LAYOUT as FLAT_LAYOUT
    from jpq_pyserini.index.record import FORMAT_VERSION as FORMAT_VERSION
    from jpq_pyserini.index.record import IndexRecord as IndexRecord
    from jpq_pyserini.index.record import library_versions as library_versions
    from jpq_pyserini.index.record import query_encoder_path as query_encoder_path
    from jpq_pyserini.index.record import write_record as write_record


_PUBLIC = {
    "FLAT_LAYOUT": "record",
    "FORMAT_VERSION": "record",
    "IndexDirectory": "directory",
    "IndexRecord": "record",
    "JPQIndex": "collection",
    "check_parts": "directory",
    "library_versions": "record",
    "query_encoder_path": "record",
    "save_flat_index": "directory",
    "write_record": "record",
}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
