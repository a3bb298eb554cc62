"""``pack``: an index directory becomes a tarball, a catalogue with its entry, and a README."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import description as describe
from jpq_pyserini.index.record import IndexRecord, check_verified, refuse_reference, write_values
from jpq_pyserini.names import QUERY_ENCODER, RECORD
from jpq_pyserini.prebuilt import readme
from jpq_pyserini.prebuilt.archive import pack as write_archive
from jpq_pyserini.prebuilt.checks import digests_of
from jpq_pyserini.prebuilt.entries import INDEX_DIRECTORY, Entry
from jpq_pyserini.storage import new_directory


def pack(
    directory: str | os.PathLike,
    output: str | os.PathLike,
    *,
    name: str | None = None,
    urls: tuple[str, ...] = (),
    description: str | None = None,
    texts: str | None = None,
) -> Entry:
    """Pack an index directory for others.

    Args:
        directory: a complete index directory; its files are checked first, and only those in its record are packed.
        output: folder to write, whole or not at all: ``NAME.VERSION.tar.gz``, ``NAME.json`` (a catalogue for
            ``JPQ_PREBUILT``) and ``NAME.VERSION.README.md``. Share it as it is, or serve it.
        name: what users will give to ``--index``; default: the directory's name.
        urls: where the tarball will be; one that ends with a slash gets the file's name. Default: beside the catalogue.
        description: one line; default: made from the record.
        texts: name of the prebuilt Lucene index with the texts, for ``searcher.doc(docid)``.

    Returns:
        The entry. The same directory gives the same bytes, and so the same checksums.

    Raises:
        JPQError: the directory is not complete, a file was changed since, the name is no good, or ``output`` exists.
    """
    directory = Path(directory)
    record = IndexRecord.read(directory)
    name = name or directory.resolve().name
    check_verified(directory)
    refuse_reference(directory)
    if not any(file.startswith(f"{QUERY_ENCODER}/") for file in record.sha256):
        raise JPQError(
            f"{directory} has no {QUERY_ENCODER}, so nobody could search it by name: train or import it again"
        )
    stem = f"{name}.{hashlib.sha256((directory / RECORD).read_bytes()).hexdigest()[:6]}"
    where = [url + f"{stem}.tar.gz" if url.endswith("/") else url for url in urls] or [f"{stem}.tar.gz"]
    values = {
        "description": description
        or f"JPQ index of {record.count:,} documents, M={record.m}, {record.nbits} bits a code.",
        "filename": f"{stem}.tar.gz",
        "readme": f"{stem}.README.md",
        "urls": where,
        "documents": record.count,
        "texts": texts,
        "jpq": _facts(record) | {"unpacked": sum(os.path.getsize(directory / file) for file in record.sha256)},
    }
    draft = Entry.from_json(name, values, str(Path(output).absolute() / f"{name}.json"))
    with new_directory(output) as partial:
        archive = partial / str(draft.filename)
        public = partial / RECORD
        seen = _public(directory)
        write_values(public, seen)
        write_archive(directory, [*record.sha256, RECORD], archive, stem, instead={RECORD: public})
        public.unlink()
        entry = draft.model_copy(update={"size": archive.stat().st_size, **digests_of(archive, ("md5", "sha256"))})
        catalogue = {name: entry.to_json() | {"urls": where}}
        (partial / f"{name}.json").write_text(json.dumps(catalogue, indent=2) + "\n", encoding="utf-8")
        (partial / str(entry.readme)).write_text(
            readme.of_directory(entry, replace(record, encoder=seen["encoder"], training=seen["training"])),
            encoding="utf-8",
        )
    return entry


def _public(directory: Path) -> dict:
    """Return the record as others may see it: files and folders of this machine keep only their names."""
    values = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    for paths in (values.get("encoder") or {}, (values.get("training") or {}).get("data") or {}):
        for key, value in paths.items():
            if isinstance(value, str) and os.path.isabs(value):
                paths[key] = os.path.basename(value)
    return values


def _facts(record: IndexRecord) -> dict:
    return {
        "kind": INDEX_DIRECTORY,
        "dimension": record.dimension,
        "m": record.m,
        "nbits": record.nbits,
        "layout": record.layout,
        "codec": "codec.safetensors",
        "encoder": {"query": QUERY_ENCODER, "document": describe.public_name(record.encoder)},
        "expected": describe.scores(record),
    }
