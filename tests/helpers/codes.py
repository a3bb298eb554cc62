"""Random codecs, embeddings and indexes, and flat folders written as Pyserini writes them."""

import faiss
import numpy as np

from jpq_pyserini import JPQIndex
from jpq_pyserini.codec.quantizer import ProductQuantizer


def random_codec(D=24, M=6, nbits=8, seed=0, rotate=True) -> ProductQuantizer:
    rng = np.random.default_rng(seed)
    shape = (M, 1 << nbits, D // M)
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32) if rotate else None
    return ProductQuantizer(rng.standard_normal(shape), rng.standard_normal(shape), rotation)


def random_embeddings(N, D=24, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, D)).astype(np.float32)


def write_flat(path, embeddings, docids=None, index=None):
    path.mkdir()
    index = index or faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    faiss.write_index(index, str(path / "index"))
    docids = [f"d{i}" for i in range(len(embeddings))] if docids is None else docids
    (path / "docid").write_text("".join(f"{docid}\n" for docid in docids))
    return path


def make_index(N=100, **options) -> JPQIndex:
    codec = random_codec(**options)
    return JPQIndex(codec, codec.encode(random_embeddings(N)), [f"d{i}" for i in range(N)])
