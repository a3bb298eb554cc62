"""Catalogue entries of the authors' release: download, then import."""

import tempfile
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import IndexRecord
from jpq_pyserini.index.release.convert import import_release
from jpq_pyserini.index.release.encoder import old_tokenizer
from jpq_pyserini.index.release.index_file import FAISS_FILES
from jpq_pyserini.prebuilt.archive import GZIP, unpack
from jpq_pyserini.prebuilt.catalogue import Entry
from jpq_pyserini.prebuilt.download import Expected, download


def fetch_release(entry: Entry, output: Path, options: dict, *, timeout: float, progress: bool) -> None:
    """Download the index and the encoder of a catalogue entry and import them to ``output``.

    Args:
        entry: of the kind ``release``.
        output: does not exist.
        options: ``docids``, ``collection`` and ``tokenizer`` of :func:`import_release`.

    Raises:
        JPQError: see :func:`import_release`; or the entry's ids need a collection that was not given.
    """
    encoder = entry.jpq.get("encoder", {})
    by_row = entry.jpq.get("docids") == "row"
    if not by_row and options["docids"] is None and options["collection"] is None:
        file = entry.jpq.get("collection", "the collection's file")
        raise JPQError(
            f"{entry.name} numbers its documents by their row in {file}, which no download has: run "
            f"`python -m jpq_pyserini.prebuilt fetch {entry.name} --collection {file}` once"
        )
    tokenizer = options["tokenizer"] or encoder.get("tokenizer")
    if tokenizer:
        old_tokenizer(tokenizer)  # before gigabytes are downloaded for nothing
    files = []
    try:
        for kind, source, magic in (("index", entry, FAISS_FILES), ("encoder", _download_of(encoder), GZIP)):
            expected = Expected(source.size, source.md5, source.sha256, magic)
            file = output.with_name(f".{entry.stem}.{kind}")
            files.append(download(source.urls, file, expected, timeout=timeout, progress=progress))
        with tempfile.TemporaryDirectory(prefix=f".{entry.stem}.", dir=output.parent) as folder:
            unpack(files[1], Path(folder))
            import_release(
                _encoder_folder(Path(folder)),
                output,
                index=files[0],
                tokenizer=tokenizer,
                max_query_length=encoder.get("max_query_length"),
                docids=options["docids"],
                collection=options["collection"],
            )
        _check_import(entry, output)
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _check_import(entry: Entry, directory: Path) -> None:
    record = IndexRecord.read(directory)
    for key, found, wanted in (("N", record.count, entry.documents), ("M", record.m, entry.jpq.get("m"))):
        if wanted is not None and found != wanted:
            raise JPQError(f"{entry.name}: the downloaded index has {key}={found:,}, the catalogue says {wanted:,}")


def _download_of(encoder: dict) -> Entry:
    values = {"filename": "encoder.tar.gz", **encoder}
    return Entry.from_json("encoder", values, "the catalogue's encoder")


def _encoder_folder(folder: Path) -> Path:
    found = sorted(path.parent for path in folder.rglob("config.json"))
    if len(found) != 1:
        raise JPQError(
            f"the encoder's archive holds {len(found)} folders with config.json instead of one: "
            "unpack it yourself and use python -m jpq_pyserini.prebuilt import"
        )
    return found[0]
