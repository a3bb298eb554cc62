"""Catalogue entries of the authors' release: download, then import."""

import tempfile
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.imported.convert import import_release
from jpq_pyserini.index.imported.encoder import old_tokenizer
from jpq_pyserini.index.imported.index_file import FAISS_FILES
from jpq_pyserini.prebuilt.archive import GZIP, unpack
from jpq_pyserini.prebuilt.checks import FileCheck
from jpq_pyserini.prebuilt.download import download
from jpq_pyserini.prebuilt.entries import Download, Entry
from jpq_pyserini.prebuilt.paths import indexes_home

_ENCODER_FILES = ("config.json", "pytorch_model.bin", "model.safetensors", "vocab.json", "merges.txt")


def fetch_release(
    entry: Entry,
    output: Path,
    *,
    docids: str | None = None,
    collection: str | None = None,
    tokenizer: str | None = None,
    timeout: float,
    progress: bool,
) -> None:
    """Download the index and the encoder of a catalogue entry and import them to ``output``.

    Args:
        entry: of the kind ``release``.
        output: does not exist, or is empty.
        docids, collection, tokenizer: of :func:`import_release`.
        timeout, progress: of :func:`.download.download`.

    Raises:
        JPQError: see :func:`import_release`; or the entry's ids need a collection that was not given.
    """
    encoder = entry.jpq.encoder
    if entry.jpq.docids != "row" and docids is None and collection is None:
        rows = entry.jpq.collection or "the collection's file"
        raise JPQError(
            f"{entry.name} numbers its documents by their row in {rows}, which no download has: run "
            f"`python -m jpq_pyserini.prebuilt fetch {entry.name} --collection {rows}` once"
        )
    tokenizer = tokenizer or encoder.tokenizer
    if tokenizer:
        old_tokenizer(tokenizer)  # before gigabytes are downloaded for nothing
    files: list[Path] = []
    sources: list[tuple[str, Download, tuple[bytes, ...]]] = [("index", entry, FAISS_FILES), ("encoder", encoder, GZIP)]
    try:
        for kind, source, magic in sources:
            expected = FileCheck(source.size, source.md5, source.sha256, magic)
            file = indexes_home() / f".{entry.stem}.{kind}.download"
            label = f"the {kind} of {entry.name}"
            files.append(download(source.urls, file, expected, label=label, timeout=timeout, progress=progress))
        with tempfile.TemporaryDirectory(prefix=f".{entry.stem}.", dir=output.parent) as folder:
            unpack(files[1], Path(folder), lambda name: name.rpartition("/")[2] in _ENCODER_FILES)
            import_release(
                _encoder_folder(Path(folder)),
                output,
                index=files[0],
                tokenizer=tokenizer,
                max_query_length=encoder.max_query_length,
                docids=docids,
                collection=collection,
            )
    finally:
        for downloaded in files:
            downloaded.unlink(missing_ok=True)


def _encoder_folder(folder: Path) -> Path:
    found = sorted(path.parent for path in folder.rglob("config.json"))
    if len(found) != 1:
        raise JPQError(
            f"the encoder's archive holds {len(found)} folders with config.json instead of one: "
            "unpack it yourself and use python -m jpq_pyserini.index import"
        )
    return found[0]
