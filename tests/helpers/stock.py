"""Good and bad files of every kind that commands read, for the campaign."""

import json
import shutil
from pathlib import Path

import numpy as np

from jpq_pyserini import JPQIndex
from jpq_pyserini.index.directory import query_encoder_copier

from helpers.tiny import tiny_corpus, tiny_cross_encoder, tiny_encoder, tiny_flat, tiny_index, tiny_t5

_DOCUMENTS, _QUERIES = 240, 12


def good(root: Path) -> Path:
    """Make one small file or folder of each kind in the new folder ``root``."""
    texts, queries = tiny_corpus(_DOCUMENTS)
    root.mkdir()
    tiny_encoder(root / "encoder")
    tiny_cross_encoder(root / "cross")
    tiny_t5(root / "t5")
    tiny_index(root / "index", root / "encoder", texts)
    index = JPQIndex.open(root / "index")
    shard = index.zero_shot(index.codes[:200], [f"x{row}" for row in range(200)])
    shard.save(root / "other", query_encoder_copier(root / "index"))
    tiny_flat(root / "flat", root / "encoder", texts)
    _lines(root / "topics.tsv", (f"q{i}\t{queries[i]}" for i in range(_QUERIES)))
    _lines(root / "qrels.txt", (f"q{i} 0 d{i} 1" for i in range(_QUERIES)))
    rng = np.random.default_rng(0)
    for name in "ab":
        found = [[i, *rng.permutation(np.arange(_QUERIES, _DOCUMENTS))[:20]] for i in range(_QUERIES)]
        run = [f"q{i} Q0 d{d} {r + 1} {50 - r} {name}" for i, row in enumerate(found) for r, d in enumerate(row)]
        _lines(root / f"run.{name}.txt", run)
        (root / f"run.{name}.facts.json").write_text('{"bytes_per_document": 8, "ms_per_query": 1, "documents": 240}')
    _lines(root / "corpus.jsonl", (json.dumps({"id": f"n{i}", "contents": text}) for i, text in enumerate(texts[:40])))
    _lines(root / "same.jsonl", (json.dumps({"id": f"d{i}", "contents": text}) for i, text in enumerate(texts)))
    _lines(
        root / "predicted.jsonl", (json.dumps({"id": f"n{i}", "predicted_queries": [queries[i]]}) for i in range(40))
    )
    _lines(root / "weights.jsonl", (json.dumps({"ba": 0.5, "ce": 0.1}) for _ in range(40)))
    _lines(root / "passages.jsonl", (json.dumps({"id": f"D{i}_0", "title": "t", "url": "u"}) for i in range(40)))
    (root / "scores.json").write_text('{"runs": [{"name": "JPQ@8", "means": {"RR@10": 0.5}}]}')
    (root / "points.json").write_text(
        '[{"title": "t", "source": "s", "bytes_per_document": 9, "documents": 240, "ms_per_query": 1, '
        '"encode_ms_per_query": 1, "values": {"RR@10": 0.3}}]'
    )
    (root / "experiment.yaml").write_text("title: none\n")
    return root


def bad(root: Path, stock: Path) -> Path:
    """Make files and folders that no command may choke on in the new folder ``root``."""
    root.mkdir()
    (root / "folder").mkdir()
    deep = "[" * 20_000 + "]" * 20_000
    texts = {
        "empty": "",
        "blank": "\n \n",
        "deep": deep,
        "deep-object": f'{{"id": "a", "contents": "b", "x": {deep}}}',
        "huge": '{"id": ' + "9" * 5000 + ', "contents": "b", "documents": ' + "9" * 5000 + "}",
        "null": "null",
        "list": "[1, null, []]",
        "numbers": '{"id": "a", "contents": 5, "title": 5, "runs": 5, "documents": NaN, "count": Infinity}',
        "blank-id": '{"id": "a b", "contents": "c"}',
        "columns": "a b c d e f g\n",
        "ranks": "q0\td0\t" + "9" * 400 + "\n",
        "dates": "title: 2024-13-45\nsteps: !!int x\n",
        "escape": "q\x1b[31m0 Q0 d0 1 1 x\n",
    }
    for name, text in texts.items():
        for ending in (".txt", ".tsv", ".json", ".jsonl", ".yaml"):
            (root / f"{name}{ending}").write_text(text, encoding="utf-8")
    for ending in ("bin", "tsv", "json", "jsonl.gz", "yaml", "txt"):
        (root / f"binary.{ending}").write_bytes(bytes(range(256)) * 4)
    _bad_flats(root, stock / "flat")
    _bad_indexes(root, stock / "index")
    return root


def _bad_flats(root: Path, flat: Path) -> None:
    whole = (flat / "index").read_bytes()
    numbers = np.frombuffer(whole[45:], "<f4")
    for name, index, docid in (
        ("nan", whole[:45] + np.full_like(numbers, np.nan).tobytes(), None),
        ("large", whole[:45] + np.full_like(numbers, 3e38).tobytes(), None),
        ("negative", whole[:4] + (-1).to_bytes(4, "little", signed=True) + whole[8:], None),
        ("short", whole[:-100], None),
        ("blanks", whole, "a b\n" * _DOCUMENTS),
        ("twice", whole, "a\n" * _DOCUMENTS),
        ("bytes", whole, b"\xff\n" * _DOCUMENTS),
    ):
        folder = root / f"flat-{name}"
        shutil.copytree(flat, folder)
        (folder / "index").write_bytes(index)
        if docid is not None:
            (folder / "docid").write_bytes(docid if isinstance(docid, bytes) else docid.encode())


def _bad_indexes(root: Path, index: Path) -> None:
    record = json.loads((index / "jpq.json").read_text())
    for name, changed in (
        ("count", {"count": None}),
        ("negative", {"count": -1, "m": -1}),
        ("sums", {"sha256": {}}),
        ("history", {"history": 1, "training": None, "lists": 1}),
        ("types", {"encoder": "x", "m": "x"}),
        ("large", {"m": 10**30}),
    ):
        folder = root / f"index-{name}"
        shutil.copytree(index, folder)
        (folder / "jpq.json").write_text(json.dumps(record | changed))
    shutil.copytree(index, root / "index-deep")
    (root / "index-deep" / "jpq.json").write_text("[" * 20_000)
    shutil.copytree(index, root / "index-cut")
    (root / "index-cut" / "index").write_bytes((index / "index").read_bytes()[:-9])


def _lines(path: Path, lines) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def state_of(folder: Path) -> dict:
    """Return what changes when anything in a folder is written, made, removed or replaced."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        found[str(path.relative_to(folder))] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode)
    return found
