"""Search over the codes with torch, for GPUs: Faiss has no GPU version of these layouts but ``ivf``.

Codes stay compressed in the GPU's memory. A tile of documents is decoded, multiplied with all queries of the batch, and
forgotten again; the best k are kept. The same runs on a CPU, slowly: that is for tests.
"""

import numpy as np
import torch

from jpq_pyserini.codec import ProductQuantizer, pack_codes

_TILE_BYTES = 1 << 28  # memory of a decoded tile, and of its scores


class TorchSearch:
    """Exhaustive search over codes on a torch device.

    Args:
        codec: its trained centroids; the rotation is not used, queries come rotated.
        codes: (N, M) uint8; 4-bit ones are stored two a byte.
        device: ``"cuda:0"``, ``"cpu"``.
        dtype: of decoded documents and queries; None: float16 on a GPU, float32 elsewhere. Products are summed in
            float32 either way.
        tile: documents decoded at once; None: as many as fit 256 MB.
    """

    def __init__(
        self,
        codec: ProductQuantizer,
        codes: np.ndarray,
        device: str = "cuda:0",
        dtype: torch.dtype | None = None,
        tile: int | None = None,
    ):
        self._device = torch.device(device)
        self._dtype = dtype or (torch.float16 if self._device.type == "cuda" else torch.float32)
        book = byte_codebook(codec)  # (G, 256, width)
        groups, values, width = book.shape
        self._book = torch.from_numpy(book).to(self._device, self._dtype).reshape(groups * values, width)
        self._offsets = torch.arange(0, groups * values, values, device=self._device, dtype=torch.int32)
        self._codes = torch.from_numpy(pack_codes(codes, codec.nbits)).to(self._device)
        self._dimension = codec.dimension
        self._tile = tile or max(1, _TILE_BYTES // (codec.dimension * self._book.element_size()))

    @torch.inference_mode()
    def search(self, rotated: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search with rotated queries (B, D) float32; returns scores (B, k) float32 and rows (B, k) int64, best first.

        Equal scores come in no fixed order. With fewer than k documents the rest has row -1.
        """
        queries = torch.from_numpy(np.ascontiguousarray(rotated)).to(self._device, self._dtype)
        best = torch.empty((len(queries), 0), device=self._device)
        rows = torch.empty((len(queries), 0), device=self._device, dtype=torch.int64)
        for start in range(0, len(self._codes), self._tile):
            scores = (queries @ self._decode(start).T).float()  # (B, tile)
            top = scores.topk(min(k, scores.shape[1]), dim=1, sorted=False)
            best, rows = torch.cat([best, top.values], 1), torch.cat([rows, top.indices + start], 1)
            if best.shape[1] > k:
                best, kept = best.topk(k, dim=1)
                rows = rows.gather(1, kept)
        best, order = best.sort(dim=1, descending=True)
        found = np.full((len(queries), k), np.finfo(np.float32).min, dtype=np.float32)
        found_rows = np.full((len(queries), k), -1, dtype=np.int64)
        found[:, : best.shape[1]] = best.cpu().numpy()
        found_rows[:, : best.shape[1]] = rows.gather(1, order).cpu().numpy()
        return found, found_rows

    def _decode(self, start: int) -> torch.Tensor:
        codes = self._codes[start : start + self._tile].int() + self._offsets  # (tile, G)
        vectors = self._book.index_select(0, codes.view(-1)).view(len(codes), -1)
        return vectors[:, : self._dimension]


def byte_codebook(codec: ProductQuantizer) -> np.ndarray:
    """Return what each byte of the packed codes stands for: (G, 256, width) float32, G bytes a document.

    With 8 bits these are the centroids. With 4 bits a byte is a pair of codes, the first in the low half, and stands
    for both their centroids; an odd M is padded with zeros.
    """
    if codec.nbits == 8:
        return codec.centroids
    centroids = codec.centroids
    if codec.m % 2:
        centroids = np.concatenate([centroids, np.zeros_like(centroids[:1])])
    byte = np.arange(256)
    return np.concatenate([centroids[0::2][:, byte & 0x0F], centroids[1::2][:, byte >> 4]], axis=2)
