"""A scan of the codes in one GPU kernel: what decoding in tiles does, without ever writing a decoded document.

Decoding in tiles (:func:`jpq_pyserini.index.torch_search.decoded_tiles`) writes N·D numbers to the GPU's memory and
reads them again. Here a program takes ``BLOCK`` documents, looks their codes up and keeps the scores alone, so that
memory sees N·G bytes of codes and N·B scores. Two kernels, of which :mod:`jpq_pyserini.index.scan_choice` takes the
faster:

* ``multiply`` looks up the centroids of a few sub-vectors, and multiplies them with all queries at once on the tensor
  cores: the look-ups are the same for one query and for sixty-four.
* ``look_up`` adds entries of the tables of equation 12, four bytes a look-up, for a few queries.

The best k come from segments: a program also writes the greatest score of its block. The best k documents lie in the k
blocks whose greatest scores are best, so that only k·BLOCK scores are sorted.

Without a GPU, Triton's interpreter runs the same kernels (``TRITON_INTERPRET=1``), slowly; that is how they are tested.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from jpq_pyserini.index.torch_search import NO_KEY, best_keys, scores_and_rows, sort_keys

BLOCK = 128  # documents of a program
_BYTES = 16  # codes that `look_up` reads at once
_WIDE = 64  # numbers of a document that `multiply` decodes at once
_ROWS = 1 << 20  # documents scored before their best are taken, at most
_SCORES = 1 << 29  # that make 2 GB, at most


@triton.jit
def _multiply(
    codes, book, queries, scores, maxima, count, blocks, batch,
    GROUPS: tl.constexpr, VALUES: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, QUERIES: tl.constexpr,
    BLOCK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores (QUERIES, BLOCK) of one block: equation 11's inner products, summed over the sub-vectors (equation 12)."""
    block = tl.program_id(0)
    documents = block * BLOCK + tl.arange(0, BLOCK)
    asked = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    here = documents < count
    element = tl.arange(0, WIDTH)
    total = tl.zeros((BLOCK, QUERIES), dtype=tl.float32)
    for first in range(0, GROUPS, CHUNK):
        group = first + tl.arange(0, CHUNK)
        known = group < GROUPS
        their = tl.load(
            codes + documents.to(tl.int64)[:, None] * GROUPS + group[None, :], here[:, None] & known[None, :], 0
        )
        entry = (group[None, :] * VALUES + their.to(tl.int32)) * WIDTH  # (BLOCK, CHUNK)
        decoded = tl.load(book + entry[:, :, None] + element[None, None, :], known[None, :, None], 0.0)
        decoded = tl.reshape(decoded, (BLOCK, CHUNK * WIDTH))
        place = first * WIDTH + tl.arange(0, CHUNK * WIDTH)
        wanted = (place[:, None] < GROUPS * WIDTH) & (asked[None, :] < batch)
        part = tl.load(queries + asked[None, :] * (GROUPS * WIDTH) + place[:, None], wanted, 0.0)
        total = tl.dot(decoded, part, total, input_precision=PRECISION)
    total = tl.where(here[:, None], total, float("-inf"))
    kept = (asked < batch)[None, :]
    tl.store(scores + asked.to(tl.int64)[None, :] * (blocks * BLOCK) + documents[:, None], total, kept)
    tl.store(maxima + asked.to(tl.int64) * blocks + block, tl.max(total, 0), asked < batch)


@triton.jit
def _look_up(
    codes, tables, scores, maxima, count, blocks,
    GROUPS: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores (BLOCK,) of one block for one query: entries of its tables, added (equation 12)."""
    block, query = tl.program_id(0), tl.program_id(1).to(tl.int64)
    documents = block * BLOCK + tl.arange(0, BLOCK)
    here = documents < count
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in range(0, GROUPS, CHUNK):
        group = first + tl.arange(0, CHUNK)
        known = here[:, None] & (group < GROUPS)[None, :]
        their = tl.load(codes + documents.to(tl.int64)[:, None] * GROUPS + group[None, :], known, 0)
        entry = group[None, :] * VALUES + their.to(tl.int32)
        total += tl.sum(tl.load(tables + query * (GROUPS * VALUES) + entry, known, 0.0), 1)
    total = tl.where(here, total, float("-inf"))
    tl.store(scores + query * (blocks * BLOCK) + documents, total)
    tl.store(maxima + query * blocks + block, tl.max(total, 0))


def scan(codes: Tensor, book: Tensor, queries: Tensor, kernel: str) -> tuple[Tensor, Tensor]:
    """Score documents by their codes.

    Args:
        codes: (N, G) uint8, contiguous.
        book: (G, V, W), contiguous: what value v of byte g stands for, as
            :func:`~jpq_pyserini.index.torch_search.byte_codebook` gives it.
        queries: (B, D) of the book's dtype, rotated; D is at most G·W.
        kernel: ``"multiply"`` or ``"look_up"``.

    Returns:
        Scores (B, n·BLOCK) float32, -inf beyond N, and their greatest by block, (B, n).
    """
    groups, values, width = book.shape
    batch, count = len(queries), len(codes)
    blocks = triton.cdiv(count, BLOCK)
    scores = torch.empty((batch, blocks * BLOCK), device=codes.device, dtype=torch.float32)
    maxima = torch.empty((batch, blocks), device=codes.device, dtype=torch.float32)
    queries = torch.nn.functional.pad(queries, (0, groups * width - queries.shape[1]))
    if kernel == "look_up":
        split = queries.float().view(batch, groups, width)
        tables = torch.einsum("bgw,gvw->bgv", split, book.float()).contiguous()
        chunk = min(_BYTES, triton.next_power_of_2(groups))
        _look_up[(blocks, batch)](
            codes, tables, scores, maxima, count, blocks,
            GROUPS=groups, VALUES=values, CHUNK=chunk, BLOCK=BLOCK,
        )  # fmt: skip
        return scores, maxima
    padded = triton.next_power_of_2(width)  # what Triton's blocks want; the rest is zeros
    book = torch.nn.functional.pad(book, (0, padded - width)).contiguous()
    split = torch.nn.functional.pad(queries.view(batch, groups, width), (0, padded - width))
    chunk = max(1, min(_WIDE // padded, triton.next_power_of_2(groups)), 16 // padded)
    many = max(16, min(64, triton.next_power_of_2(batch)))
    precision = (
        "tf32x3" if book.dtype == torch.float32 else "tf32"
    )  # float32 to within its rounding; halves as they are
    _multiply[(blocks, triton.cdiv(batch, many))](
        codes, book, split.contiguous(), scores, maxima, count, blocks, batch,
        GROUPS=groups, VALUES=values, WIDTH=padded, CHUNK=chunk, QUERIES=many, BLOCK=BLOCK, PRECISION=precision,
    )  # fmt: skip
    return scores, maxima


@torch.no_grad()
def best_by_scan(
    codes: Tensor, book: Tensor, queries: Tensor, k: int, kernel: str, rows_at_once: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the k best inner products of each query, as :func:`~jpq_pyserini.index.torch_search.best_in_tiles` does.

    Args:
        codes, book, queries, kernel: as in :func:`scan`.
        k: how many are wanted.
        rows_at_once: documents scored before their best are taken; None: as many as make 2 GB of scores at most.

    Returns:
        Scores (B, k) float32 and rows (B, k) int64, best first, equal scores in row order; row -1 beyond N.
    """
    best = torch.empty((len(queries), 0), device=codes.device, dtype=torch.int64)
    rows_at_once = rows_at_once or max(BLOCK, min(_ROWS, _SCORES // max(1, len(queries))))
    for start in range(0, len(codes), rows_at_once):
        scores, maxima = scan(codes[start : start + rows_at_once], book, queries, kernel)
        blocks = torch.arange(maxima.shape[1], device=codes.device)
        chosen = scores_and_rows(best_keys(sort_keys(maxima, blocks), k), min(k, len(blocks)))[1]
        rows = (chosen[:, :, None] * BLOCK + torch.arange(BLOCK, device=codes.device)).flatten(1)
        keys = sort_keys(scores.gather(1, rows), rows + start)
        keys = keys.masked_fill(rows + start >= len(codes), NO_KEY)
        best = best_keys(torch.cat([best, keys], 1), k)
    return scores_and_rows(best, k)
