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


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
