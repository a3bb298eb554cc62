"""The names of the files in an index directory; importing this costs nothing, so that the start-up hook may."""

#: What the index is and how it was made; its presence makes a folder a JPQ index directory.
RECORD = "jpq.json"
#: How documents are assigned: centroids, where training moved those of the Faiss index, and numbers.
CODEC = "codec.safetensors"
#: The Faiss index; of all these Pyserini opens this one …
INDEX = "index"
#: … and this one: an external id a line, row order.
DOCID = "docid"
#: The trained query encoder, a sentence-transformers folder.
QUERY_ENCODER = "query_encoder"
#: Beside the embeddings of a flat folder: which encoder made them, and how.
FLAT_ENCODER = "encoder.json"
#: File inside a saved query encoder that tells it from any other sentence-transformers folder.
ENCODER_MARKER = "jpq_encoder.json"
#: The documents' real vectors, for rescoring; optional.
VECTORS = "vectors.safetensors"
SHARDS = "shards.json"
#: How codes are laid out for search: :mod:`jpq_pyserini.index.layouts`.
LAYOUTS = ("pq", "fastscan", "ivf", "ivf-fastscan")
