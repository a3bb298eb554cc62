"""What is trained: the query encoder and the centroids, and how they score documents."""

import numpy as np
import torch
from torch import Tensor, nn

from jpq_pyserini.codec import ProductQuantizer
from jpq_pyserini.text_encoder import query_prompt


class JPQModel(nn.Module):
    """Query encoder and centroids; codes and rotation stay fixed (section 3.3).

    Args:
        encoder: a ``SentenceTransformer``.
        codec: rotation and first centroids.
        codes: (N, M) uint8; kept as they are, one byte a code.
        bf16: run the encoder under bfloat16 autocast in :meth:`embed`; scores and losses stay in float32.
    """

    def __init__(self, encoder, codec: ProductQuantizer, codes: np.ndarray, bf16: bool = False):
        super().__init__()
        self.encoder, self.bf16 = encoder, bf16
        self.centroids = nn.Parameter(torch.from_numpy(codec.centroids.copy()))
        rotation = None if codec.rotation is None else torch.from_numpy(codec.rotation)
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)

    def embed(self, queries: list[str]) -> Tensor:
        """Encode query texts with gradients; returns (B, D), unrotated."""
        prompt = query_prompt(self.encoder)
        features = self.encoder.preprocess([prompt + query for query in queries])
        features = {
            name: value.to(self.codes.device) if isinstance(value, Tensor) else value
            for name, value in features.items()
        }
        with torch.autocast(self.codes.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.encoder(features)["sentence_embedding"].float()

    def rotate(self, queries: Tensor) -> Tensor:
        """Rotate (B, D) query embeddings into the space of the sub-vectors."""
        return queries if self.rotation is None else queries @ self.rotation.T

    def scores(self, rotated_queries: Tensor, rows: Tensor) -> Tensor:
        """Score (B, D) rotated queries against their own documents (B, n) int64 rows; returns s† (B, n)."""
        return table_scores(rotated_queries, self.centroids, self.codes[rows])


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
