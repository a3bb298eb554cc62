"""What is trained: the query encoder and the centroids, and how they score documents."""

import numpy as np
import torch
from torch import Tensor, nn

from jpq_pyserini.codec.opq import reconstruct
from jpq_pyserini.codec.quantizer import ProductQuantizer


class JPQModel(nn.Module):
    """Query encoder and centroids; codes and rotation stay fixed (section 3.3).

    Args:
        encoder: a ``SentenceTransformer``.
        codec: rotation and first centroids; None trains the encoder alone, on a flat index.
        codes: (N, M) uint8; kept as they are, one byte a code.
        flat: (N, D) float32 embeddings, possibly a memory map; only :meth:`flat_scores` and :meth:`documents` read it.
        bf16: the encoder runs under bfloat16 autocast in training; scores and losses stay in float32.
    """

    def __init__(
        self, encoder, codec: ProductQuantizer | None, codes: np.ndarray | None, flat: np.ndarray, bf16: bool = False
    ):
        super().__init__()
        self.encoder = encoder
        self.flat, self.bf16 = flat, bf16
        rotation = None if codec is None else codec.rotation
        self.centroids = None if codec is None else nn.Parameter(torch.from_numpy(codec.centroids.copy()))
        self.register_buffer("rotation", None if rotation is None else torch.from_numpy(rotation), persistent=False)
        self.register_buffer("codes", None if codec is None else torch.from_numpy(codes), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.encoder.parameters()).device

    def rotate(self, vectors: Tensor) -> Tensor:
        """Rotate (…, D) vectors into the space of the sub-vectors."""
        return vectors if self.rotation is None else vectors @ self.rotation.T

    def scores(self, rotated_queries: Tensor, rows: Tensor) -> Tensor:
        """Score (B, D) rotated queries by equation 12; returns s† (B, n).

        Args:
            rotated_queries: (B, D).
            rows: (B, n) int64, documents of each query, or (n,), documents that all of them share.
        """
        if rows.dim() == 1:
            return rotated_queries @ reconstruct(self.codes[rows].long(), self.centroids).T
        return table_scores(rotated_queries, self.centroids, self.codes[rows])

    def flat_scores(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Score (B, D) *unrotated* queries by equation 2 with uncompressed documents, rows as for :meth:`scores`."""
        if rows.dim() == 1:
            return queries @ self.documents(rows).T
        return torch.einsum("bd,bnd->bn", queries, self.documents(rows))

    def autocast(self):
        """Run the encoder in bfloat16 within this context, if the model is to."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def documents(self, rows: Tensor) -> Tensor:
        """Return uncompressed embeddings (…, D) of documents by row (…), unrotated, without gradients."""
        return torch.from_numpy(np.ascontiguousarray(self.flat[rows.cpu().numpy()])).to(rows.device)


def table_scores(rotated_queries: Tensor, centroids: Tensor, codes: Tensor) -> Tensor:
    """Equations 11 and 12 with gradients to the queries and, by equation 19, to the centroids.

    The documents are never rebuilt: (B, M, K) inner products are made once for the batch and looked up.

    Args:
        rotated_queries: (B, D).
        centroids: (M, K, D/M).
        codes: (B, n, M) uint8.

    Returns:
        (B, n) scores.
    """
    M = len(centroids)
    sub_vectors = rotated_queries.view(len(rotated_queries), M, -1)
    tables = torch.einsum("bmd,mkd->bmk", sub_vectors, centroids)
    return tables.gather(2, codes.transpose(1, 2).long()).sum(1)


def word_embeddings(encoder) -> set[nn.Parameter]:
    """The word embedding tables of a SentenceTransformer: most of a small model, and rarely worth training."""
    tables = set()
    for module in encoder.modules():
        table = module.get_input_embeddings() if hasattr(module, "get_input_embeddings") else None
        if isinstance(table, nn.Embedding):
            tables.add(table.weight)
    return tables
