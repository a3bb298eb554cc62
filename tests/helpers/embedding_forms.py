"""The same embeddings in every form that ``--embeddings`` takes."""

import json
import pickle
from pathlib import Path

import faiss
import numpy as np

from helpers.codes import write_flat


def _with_docids(folder: Path, docids) -> Path:
    path = folder / "ids.txt"
    path.write_text("".join(f"{docid}\n" for docid in docids))
    return path


def _npy(folder, x, docids):
    np.save(folder / "x.npy", x)
    return folder / "x.npy", _with_docids(folder, docids)


def _npy_parts(folder, x, docids):
    np.save(folder / "x0.npy", x[:100])
    np.save(folder / "x1.npy", x[100:])
    _with_docids(folder, docids).rename(folder / "docid")
    return folder, None


def _npy_half(folder, x, docids):
    return _npy(folder, x.astype(np.float16), docids)


def _safetensors(folder, x, docids):
    from safetensors.numpy import save_file

    save_file({"embeddings": x}, folder / "x.safetensors")
    return folder / "x.safetensors", _with_docids(folder, docids)


def _parquet(folder, x, docids):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"docid": docids, "contents": docids, "vector": list(x)})
    parquet.write_table(table, folder / "x.parquet")
    return folder / "x.parquet", None


def _dataset(folder, x, docids):
    import datasets

    datasets.Dataset.from_dict({"_id": docids, "emb": list(x)}).save_to_disk(str(folder / "hf"))
    return folder / "hf", None


def _jsonl(folder, x, docids):
    (folder / "json").mkdir()
    rows = [{"id": docid, "contents": "c", "vector": v} for docid, v in zip(docids, x.tolist(), strict=True)]
    (folder / "json" / "embeddings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "json", None


def _pickle(folder, x, docids, protocol=4):
    for part, rows in enumerate((slice(0, 100), slice(100, None))):
        (folder / f"corpus.{part}.pkl").write_bytes(pickle.dumps((x[rows], docids[rows]), protocol))
    return [folder / "corpus.0.pkl", folder / "corpus.1.pkl"], None


def _dpr(folder, x, docids):
    (folder / "dpr_0.pkl").write_bytes(pickle.dumps(list(zip(docids, x, strict=True)), 5))
    return folder / "dpr_0.pkl", None


def _dictionary(folder, x, docids):
    (folder / "d.pkl").write_bytes(pickle.dumps(dict(zip(docids, x, strict=True))))
    return folder / "d.pkl", None


def _faiss(make):
    def write(folder, x, docids):
        index = make(x)
        if not index.is_trained:
            index.train(x)
        return write_flat(folder / "f", x, docids=docids, index=index), None

    return write


def _id_map(kind):
    def write(folder, x, docids):
        order = np.random.default_rng(1).permutation(len(x))
        index = kind(faiss.IndexFlatIP(x.shape[1]))
        index.add_with_ids(x[order], order)
        write_flat(folder / "f", x, docids=docids)
        faiss.write_index(index, str(folder / "f" / "index"))
        return folder / "f", None

    return write


def _ivf(x):
    return faiss.IndexIVFFlat(faiss.IndexFlatIP(x.shape[1]), x.shape[1], 4, faiss.METRIC_INNER_PRODUCT)


def _flat_parts(folder, x, docids):
    write_flat(folder / "0", x[:100], docids=docids[:100])
    write_flat(folder / "1", x[100:], docids=docids[100:])
    return folder, None


FORMS = {
    "flat": lambda folder, x, docids: (write_flat(folder / "f", x, docids=docids), None),
    "flat parts": _flat_parts,
    "array": lambda folder, x, docids: (x, docids),
    "npy": _npy,
    "npy parts": _npy_parts,
    "npy float16": _npy_half,
    "safetensors": _safetensors,
    "parquet": _parquet,
    "dataset": _dataset,
    "jsonl": _jsonl,
    "pickle": _pickle,
    "pickle, old protocol": lambda folder, x, docids: _pickle(folder, x, docids, 2),
    "pickle float16": lambda folder, x, docids: _pickle(folder, x.astype(np.float16), docids, 5),
    "DPR's pickle": _dpr,
    "dictionary's pickle": _dictionary,
    "RFlat": _faiss(lambda x: faiss.index_factory(x.shape[1], "PQ2x4,RFlat", faiss.METRIC_INNER_PRODUCT)),
    "IDMap": _id_map(faiss.IndexIDMap),
    "IDMap2": _id_map(faiss.IndexIDMap2),
    "HNSW-Flat": _faiss(lambda x: faiss.IndexHNSWFlat(x.shape[1], 8, faiss.METRIC_INNER_PRODUCT)),
    "IVF-Flat": _faiss(_ivf),
}
#: Those that keep float16.
HALF = ("npy float16", "pickle float16")


def write_form(form: str, folder: Path, x: np.ndarray, docids: list[str]):
    """Write (N, D) float32 embeddings; returns what ``open_embeddings`` is given: source and docids."""
    return FORMS[form](folder, x, docids)
