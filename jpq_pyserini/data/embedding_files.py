"""Files and folders with embeddings, each read by what it holds, whatever it is called.

A reader takes a path and yields ``(docids, vectors)``: n external ids, or None where the format has none, and (n, D)
float16 or float32, a block at a time; the ids of a Faiss index, rising integers, come as an array. Vectors that are a
memory map are the whole file, and stay on disk.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from jpq_pyserini.data.corpus import Corpus, docid_of
from jpq_pyserini.data.faiss_files import faiss_vectors
from jpq_pyserini.data.flat import check_l2, is_flat, is_l2, map_embeddings
from jpq_pyserini.data.lines import decompressor, refuse_pointer, refuse_pointers
from jpq_pyserini.data.restricted_pickle import read_vectors
from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.json_text import safetensors_header
from jpq_pyserini.names import INDEX
from jpq_pyserini.storage import check_input

Block = tuple[Sequence[str] | np.ndarray | None, np.ndarray]
Reader = Callable[[Path], Iterator[Block]]

_FORMS = (
    "a flat Faiss folder, a Faiss index that holds its vectors, .npy, .safetensors, .parquet, JSON lines with "
    "'vector', a Hugging Face dataset saved to disk, or a pickle of Tevatron's"
)
_SUFFIXES = (".npy", ".safetensors", ".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".pkl", ".pickle", ".pt")
_ROWS = 4096  # of what is not mapped, read at once
_IDS, _VECTORS = ("docid", "id", "_id"), ("vector", "embedding", "embeddings", "emb")
_BEYOND = 2.0**128  # float32; NaN is not below it either
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def parts_of(path: Path) -> list[Path]:
    """Return what a path stands for: itself, or the files and folders with embeddings in a folder, 2 before 10.

    Raises:
        JPQError: there is nothing, or nothing of that kind in it, or of several kinds.
    """
    if not path.exists():
        raise JPQError(f"{path} is missing: embeddings are {_FORMS}")
    if not path.is_dir() or (path / INDEX).exists() or _is_dataset(path):
        return [path]
    found = [each for each in path.iterdir() if (each.is_dir() and _whole(each)) or each.name.endswith(_SUFFIXES)]
    kinds = sorted({"folder" if each.is_dir() else each.suffix for each in found})
    if not kinds:
        raise JPQError(
            f"{path / INDEX} is missing, and {path} holds nothing else that is read: embeddings are {_FORMS}"
        )
    if len(kinds) > 1:
        raise JPQError(f"{path} holds files of several kinds ({', '.join(kinds)}): name those to read")
    return sorted(found, key=_in_numbers)


def blocks_of(path: Path) -> Iterator[Block]:
    """Read a file or folder, by its content.

    Raises:
        JPQError: it is of no known kind, damaged, or holds other things than embeddings.
    """
    try:
        yield from _reader_of(path)(path)
    except JPQError:
        raise
    except Exception as error:  # numpy, pyarrow, datasets and Faiss raise all kinds when a file is damaged
        if isinstance(error, OSError) and error.errno:  # permissions, a disk that fails
            raise
        raise JPQError(f"{path} cannot be read ({reason_of(error)}): copy or write it again") from None


def _reader_of(path: Path) -> Reader:
    if path.is_dir() and _is_dataset(path):
        return _dataset
    check_input(file := path / INDEX if path.is_dir() else path)
    with open(file, "rb") as opened:
        head = opened.read(64)
    refuse_pointer(file, head)
    if path.is_dir():
        return _faiss
    if head.startswith(b"\x93NUMPY"):
        return _npy
    if head.startswith(b"PAR1"):
        return _parquet
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < path.stat().st_size:
        return _safetensors  # before pickles: a header of so many bytes begins as they do
    if head[:1] == b"\x80":
        return _pickle
    if decompressor(head) is not None or head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _json
    if re.match(rb"[A-Z][A-Za-z0-9]{3}", head):
        return _faiss
    raise JPQError(f"{path} is of no kind that is known here: embeddings are {_FORMS}")


def _whole(folder: Path) -> bool:
    return (folder / INDEX).exists() or _is_dataset(folder)


def _is_dataset(folder: Path) -> bool:
    return (folder / "dataset_info.json").exists() or (folder / "dataset_dict.json").exists()


def _in_numbers(path: Path) -> list:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _npy(path: Path) -> Iterator[Block]:
    yield None, np.load(path, mmap_mode="r", allow_pickle=False)


def _safetensors(path: Path) -> Iterator[Block]:
    header, begin = safetensors_header(path)
    tensors = {name: each for name, each in header.items() if name != "__metadata__" and len(each["shape"]) == 2}
    name = next((name for name in _VECTORS if name in tensors), next(iter(tensors), None))
    if name is None or (len(tensors) > 1 and name not in _VECTORS):
        raise JPQError(f"{path} holds the tensors {', '.join(header)}: save the vectors as one (N, D), 'embeddings'")
    kind, shape, (start, _) = (tensors[name][each] for each in ("dtype", "shape", "data_offsets"))
    if kind not in _FLOATS:
        raise JPQError(f"{path} holds numbers of type {kind}: save the vectors as float16 or float32")
    rows = np.memmap(path, _FLOATS[kind], "r", begin + start, tuple(shape))
    if kind != "BF16":
        yield None, rows
        return
    for first in range(0, len(rows), _ROWS):
        yield None, (rows[first : first + _ROWS].astype(np.uint32) << 16).view(np.float32)


def _faiss(path: Path) -> Iterator[Block]:
    file = path / INDEX if path.is_dir() else path
    if not is_flat(file):
        yield from faiss_vectors(file)
        return
    rows = map_embeddings(file)
    if is_l2(file):
        check_l2(file, rows)
    yield np.arange(len(rows)), rows


def _pickle(path: Path) -> Iterator[Block]:
    yield read_vectors(path)


def _json(path: Path) -> Iterator[Block]:
    records, dimension = Corpus(path).records(), None
    while block := list(islice(records, _ROWS)):
        docids, vectors = [docid_of(fields, place) for place, fields in block], []
        for place, fields in block:
            vector = next((fields[name] for name in _VECTORS if name in fields), None)
            dimension = dimension or (len(vector) if isinstance(vector, list) else None)
            if not isinstance(vector, list) or len(vector) != dimension or not all(map(_is_number, vector)):
                raise JPQError(
                    f"{place} has no vector{f' of {dimension} numbers' if dimension else ''}: lines are like "
                    '{"id": "doc1", "vector": [0.1, …]}'
                )
            vectors.append(vector)
        yield docids, np.array(vectors, np.float32)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and abs(value) < _BEYOND


def _parquet(path: Path) -> Iterator[Block]:
    import pyarrow
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    columns = _columns(file.schema_arrow.names, path)
    for batch in file.iter_batches(_ROWS, columns=list(columns)):
        yield _block(pyarrow.Table.from_batches([batch]), columns, path)


def _dataset(path: Path) -> Iterator[Block]:
    import datasets

    refuse_pointers(path)
    data = datasets.load_from_disk(str(path))
    if isinstance(data, datasets.DatasetDict):
        if len(data) > 1:
            raise JPQError(f"{path} holds the splits {', '.join(data)}: name the folder of one")
        data = next(iter(data.values()))
    columns = _columns(data.column_names, path)
    for table in data.select_columns(list(columns)).with_format("arrow").iter(_ROWS):
        yield _block(table, columns, path)


def _columns(names: Sequence[str], path: Path) -> tuple[str, str]:
    chosen = [next((name for name in wanted if name in names), None) for wanted in (_IDS, _VECTORS)]
    if chosen[0] is None or chosen[1] is None:
        raise JPQError(f"{path} has the columns {', '.join(names)}: name them docid and vector")
    return chosen[0], chosen[1]


def _block(table, columns: tuple[str, str], path: Path) -> Block:
    docids = table[columns[0]].to_pylist()
    column = table[columns[1]].combine_chunks()
    if hasattr(column, "chunks"):  # of no rows
        return docids, np.empty((0, 0), np.float32)
    if column.null_count:
        raise JPQError(f"{path}: the vector of docid {docids[column.is_null().to_pylist().index(True)]} is missing")
    values = column.flatten().to_numpy(zero_copy_only=False)
    if values.dtype.kind != "f" or not len(docids) or len(values) % len(docids):
        raise JPQError(f"{path}: the column {columns[1]} holds no lists of floats of one length")
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != lengths[0]).any():
        odd = int(np.argmax(lengths != lengths[0]))
        raise JPQError(f"{path}: the vector of docid {docids[odd]} has {lengths[odd]} numbers, others {lengths[0]}")
    return docids, values.reshape(len(docids), -1)
