"""Index directories of PyTerrier's JPQ (``pyterrier_dr.jpq``), turned into ours.

Its folder, as version 0.8.1 writes it: ``pt_meta.json``; ``codes.f4``, (N, M) uint8; ``subvecs.f4``, the trained
centroids, (M, K, D/M) float32; ``opq.f4``, a (D, D) float32 matrix that query vectors are multiplied by from the right,
if it has one; ``docnos.npids``, the docids in a format of the package ``npids``. The query encoder is saved apart, as a
sentence-transformers model. Documents had been assigned by other centroids, which it does not keep.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.encoders.text_encoder import load_text_encoder, save_text_encoder
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index import JPQIndex
from jpq_pyserini.index.record import TrainingRecord
from jpq_pyserini.json_text import read_json
from jpq_pyserini.storage import check_input, refuse_existing, sha256_of

META = "pt_meta.json"
_CODES, _CENTROIDS, _ROTATION, _DOCIDS = "codes.f4", "subvecs.f4", "opq.f4", "docnos.npids"
_REMEDY = "give a folder that pyterrier_dr's JPQTrainer.jpq_index wrote, whole"
_Size = Annotated[int, Field(ge=1, le=1 << 40)]


class _Meta(BaseModel):
    """What ``pt_meta.json`` holds."""

    type: Literal["dense_index"]
    format: Literal["jpq"]
    M: _Size
    Ks: _Size
    dsub: _Size
    doc_count: _Size
    opq: bool


def import_pyterrier(
    folder: str | os.PathLike,
    encoder: str,
    output: str | os.PathLike,
    *,
    docids: str | os.PathLike | None = None,
    query_prefix: str | None = None,
    max_query_length: int | None = None,
) -> Path:
    """Write an index directory with the codes, centroids and query encoder of PyTerrier's JPQ.

    Args:
        folder: the index, with ``pt_meta.json``.
        encoder: the query encoder: sentence-transformers model, name or folder.
        output: index directory to write; appears whole or not at all.
        docids: external ids, one a line, in row order; None: those of the index, which needs the package ``npids``.
        query_prefix: put before every query, as the model's class in pyterrier_dr does (E5: ``"query: "``).
        max_query_length: tokens; None: the encoder's own limit.

    Raises:
        JPQError: a file is missing, damaged or of another kind, or the encoder has another dimension.
    """
    refuse_existing(output)
    folder = Path(folder)
    meta = _read_meta(folder / META)
    centroids = _array(folder / _CENTROIDS, np.float32, (meta.M, meta.Ks, meta.dsub))
    D = meta.M * meta.dsub
    rotation = _array(folder / _ROTATION, np.float32, (D, D)).T if meta.opq else None
    codec = ProductQuantizer(centroids, centroids, rotation)
    codes = _array(folder / _CODES, np.uint8, (meta.doc_count, meta.M))
    ids = _docids(folder / _DOCIDS, meta.doc_count) if docids is None else Docids(docids).check()
    if len(ids) != len(codes):
        raise JPQError(f"{docids} has {len(ids):,} docids, the index {len(codes):,} documents: give those of the index")
    model = load_text_encoder(encoder, prompt=query_prefix, max_length=max_query_length)
    if (found := model.get_embedding_dimension()) != D:
        raise JPQError(f"{encoder} gives {found} dimensions, {folder} has {D}: give the query encoder trained with it")
    record: TrainingRecord = {
        "imported_from": {
            "release": "PyTerrier's JPQ (pyterrier_dr)",
            "index": {"file": f"{folder.name}/{_CODES}", "sha256": sha256_of(folder / _CODES)},
            "encoder": Path(encoder).name,
            "assignment_centroids": "not published",
        }
    }
    made = JPQIndex(codec, codes, ids, training=record)
    return made.save(output, lambda path: save_text_encoder(model, path))


def _read_meta(path: Path) -> _Meta:
    try:
        return _Meta.model_validate(read_json(path, _REMEDY))
    except FileNotFoundError:
        raise JPQError(f"{path} is missing: {_REMEDY}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise JPQError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}: {_REMEDY}") from None


def _array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    wanted = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    try:
        check_input(path)
        if (size := path.stat().st_size) != wanted:
            raise JPQError(f"{path} has {size:,} bytes, {wanted:,} expected for {shape}: {_REMEDY}")
        array: np.ndarray = np.fromfile(path, dtype).reshape(shape)
    except OSError as error:
        raise JPQError(f"{path} cannot be read ({reason_of(error)}): {_REMEDY}") from error
    if dtype is np.float32 and not np.isfinite(array).all():
        raise JPQError(f"{path} holds NaN or infinity: {_REMEDY}")
    return array


def _docids(path: Path, count: int) -> Sequence[str]:
    if importlib.util.find_spec("npids") is None:
        raise JPQError(f"{path} is read by the package npids: pip install npids, or give --docids FILE")
    import npids

    try:
        lookup = npids.Lookup(path)
        return [str(lookup.fwd[row]) for row in range(count)]
    except Exception as error:  # of a package that checks little
        raise JPQError(f"{path} cannot be read ({reason_of(error)}): {_REMEDY}, or --docids FILE") from error
