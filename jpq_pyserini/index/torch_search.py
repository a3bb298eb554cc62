"""Search over the codes with torch, for GPUs: Faiss has no GPU version of these layouts but ``ivf``.

Codes stay compressed in the GPU's memory. On a GPU where Triton is installed (PyTorch brings it), one kernel looks
them up and scores them (:mod:`jpq_pyserini.index.triton_scan`). Elsewhere a tile of documents is decoded, multiplied
with all queries of the batch, and forgotten again; the best k are kept. Nothing of that is bound to one kind of device:
on a CPU it does the same, slowly, and that is how it is tested.
"""

import importlib.util
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from jpq_pyserini.codec.codes import pack_codes
from jpq_pyserini.codec.quantizer import ProductQuantizer

_TILE_BYTES = 1 << 28  # memory of a decoded tile
_TILE_ROWS = 1 << 17  # at most in a tile, so that scoring takes no more memory than decoding: 32 bytes a score
_QUERIES = 64  # scored against a tile at once
#: The key of no document: less than any that a score makes.
NO_KEY = torch.iinfo(torch.int64).min


class TorchSearch:
    """Exhaustive search over codes on a torch device.

    Args:
        codec: its trained centroids; the rotation is not used, queries come rotated.
        codes: (N, M) uint8; 4-bit ones are stored two a byte.
        device: ``"cuda:0"``, ``"cpu"``.
        dtype: of decoded documents, queries and scores; None: float16 on a GPU, float32 elsewhere. Float16 scores
            are good enough to choose candidates by, which the searcher scores again from their codes.
        tile: documents decoded at once; None: as many as fit 256 MB.
        scan: ``"tiles"``, or a kernel: ``"multiply"``, ``"look_up"``; None: where there are kernels the fastest of
            all for the batch (:mod:`jpq_pyserini.index.scan_choice`), else tiles.
    """

    def __init__(
        self,
        codec: ProductQuantizer,
        codes: np.ndarray,
        device: str = "cuda:0",
        dtype: torch.dtype | None = None,
        tile: int | None = None,
        scan: str | None = None,
    ):
        self._device = torch.device(device)
        self._dtype = dtype or (torch.float16 if self._device.type == "cuda" else torch.float32)
        self._book = torch.from_numpy(byte_codebook(codec)).to(self._device, self._dtype)
        self._codes = torch.from_numpy(pack_codes(codes, codec.nbits)).to(self._device)
        self._dimension, self._tile, self._scan = codec.dimension, tile, scan

    def search(self, rotated: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search with rotated queries (B, D) float32; returns scores (B, k) float32 and rows (B, k) int64, best first.

        Equal scores are in row order. With fewer than k documents the rest has row -1.
        """
        queries = torch.from_numpy(np.ascontiguousarray(rotated)).to(self._device, self._dtype)
        scores, rows = best_by_codes(self._codes, self._book, queries, k, tile=self._tile, scan=self._scan)
        return scores.cpu().numpy(), rows.cpu().numpy()


def best_by_codes(
    codes: Tensor, book: Tensor, queries: Tensor, k: int, *, tile: int | None = None, scan: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the k documents of greatest quantized score for each query, by a kernel or in tiles.

    Args:
        codes: (N, G) uint8, packed.
        book: (G, V, width), what value v of byte g stands for.
        queries: (B, D), rotated, of the book's dtype.
        tile, scan: as in :class:`TorchSearch`.

    Returns:
        As :func:`best_in_tiles`.
    """
    if scan is None and can_scan(codes):
        from jpq_pyserini.index.scan_choice import fastest_scan

        scan = fastest_scan(codes, book, queries, k)
    if scan not in (None, "tiles"):
        from jpq_pyserini.index.triton_scan import best_by_scan

        return best_by_scan(codes, book, queries, k, scan)
    return best_in_tiles(queries, decoded_tiles(codes, book, queries.shape[1], tile), k)


def can_scan(codes: Tensor) -> bool:
    """Tell whether a kernel can search these codes: they are on a GPU, and Triton is installed."""
    return codes.is_cuda and importlib.util.find_spec("triton") is not None


def tile_rows(dimension: int, element_size: int = 4) -> int:
    """Return how many documents of ``dimension`` numbers make a tile of bounded memory."""
    return min(_TILE_ROWS, max(1, _TILE_BYTES // (dimension * element_size)))


@torch.no_grad()
def decoded_tiles(codes: Tensor, book: Tensor, dimension: int, tile: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """Yield ``(first_row, (n, D))``: documents rebuilt from their codes, in rotated space.

    Args:
        codes: (N, G) uint8.
        book: (G, V, width), what value v of byte g stands for; of the dtype that is wanted, on the device of the codes.
        dimension: D; the rest of G·width is padding.
        tile: n; None: as many as fit 256 MB.
    """
    groups, values, width = book.shape
    tile = tile or tile_rows(dimension, book.element_size())
    entries = book.reshape(groups * values, width)
    offsets = torch.arange(0, groups * values, values, device=codes.device, dtype=torch.int32)
    for start in range(0, len(codes), tile):
        chosen = codes[start : start + tile].int() + offsets  # (n, G)
        yield start, entries.index_select(0, chosen.view(-1)).view(len(chosen), -1)[:, :dimension]


@torch.no_grad()
def best_in_tiles(queries: Tensor, tiles: Iterable[tuple[int, Tensor]], k: int) -> tuple[Tensor, Tensor]:
    """Return the k best inner products of each query with documents that come in tiles.

    Args:
        queries: (B, D); they take their turns with each tile, so that memory stays bounded however many they are.
        tiles: ``(first_row, (n, D))`` pairs, of the dtype and on the device of the queries; less than 2³² rows in all.
        k: how many are wanted.

    Returns:
        Scores (B, k) float32 and rows (B, k) int64 on the device of the queries, best first. Of equal scores the lower
        row comes first, also where only some of them are among the k. With fewer than k documents the rest has row -1.
    """
    parts = queries.split(_QUERIES)
    best = [torch.empty((len(part), 0), device=part.device, dtype=torch.int64) for part in parts]
    for start, documents in tiles:
        rows = torch.arange(start, start + len(documents), device=documents.device)
        for place, part in enumerate(parts):
            with torch.autocast(queries.device.type, enabled=False):  # a caller's would round the scores
                keys = sort_keys((part @ documents.T).float(), rows)
            best[place] = best_keys(torch.cat([best[place], best_keys(keys, k)], 1), k)
    return scores_and_rows(torch.cat(best), k)


def sort_keys(scores: Tensor, rows: Tensor) -> Tensor:
    """Make one int64 of each score and its row, to sort by: of topk's own choice among equal scores nothing is known.

    The high half is the score, whose bits as an integer are in the order of the floats once those of negative ones are
    flipped; the low half is the row, counted down. Scores (B, n) float32 are of the rows (n,) or (B, n) int64.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0, which it equals
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.long().mul_(1 << 32).add_(0xFFFFFFFF - rows)


def best_keys(keys: Tensor, k: int) -> Tensor:
    """Return the k greatest of the keys (B, n) in falling order; all of them where n is less than k."""
    return keys.topk(min(k, keys.shape[1]), dim=1).values


def scores_and_rows(keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Undo :func:`sort_keys`: scores (B, k) float32 and rows (B, k) int64, -1 where there is no key."""
    keys = torch.nn.functional.pad(keys, (0, k - keys.shape[1]), value=NO_KEY)
    bits = (keys >> 32).int()
    scores = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
    missing = keys == NO_KEY
    rows = 0xFFFFFFFF - (keys & 0xFFFFFFFF)
    return scores.masked_fill(missing, torch.finfo(torch.float32).min), rows.masked_fill(missing, -1)


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
