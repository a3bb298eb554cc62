"""The files that the paper's authors published, turned into index directories of ours.

Their layouts, as https://github.com/jingtaozhan/JPQ describes them: ``OPQ{M},IVF1,PQ{M}x8.index`` (Faiss) and a folder
for the query encoder; or two dual encoders, for collections of one's own. A document's id in the index is its row in
the collection.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import Docids
from jpq_pyserini.encoders.text_encoder import embed_passages, save_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import JPQIndex
from jpq_pyserini.index.imported.encoder import (
    MAX_LENGTH,
    MAX_QUERY_LENGTH,
    ReleasedEncoder,
    read_encoder,
    to_text_encoder,
)
from jpq_pyserini.index.imported.index_file import has_own_centroids, read_index
from jpq_pyserini.index.record import EncoderSettings, TrainingRecord
from jpq_pyserini.json_text import parse_json
from jpq_pyserini.storage import refuse_existing, sha256_of

#: Folder inside the index directory, beside ``query_encoder``, when a document encoder was given.
DOCUMENT_ENCODER = "document_encoder"
_SEPARATOR = ". "  # between title and text, as their zero-shot script joins them
_MAX_CHARACTERS = 10000  # of a document, likewise
_ROWS = 1024


def import_release(
    encoder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    index: str | os.PathLike | None = None,
    docids: str | os.PathLike | None = None,
    collection: str | os.PathLike | None = None,
    document_encoder: str | os.PathLike | None = None,
    tokenizer: str | None = None,
    max_query_length: int | None = None,
    progress: bool = False,
) -> Path:
    """Write an index directory from files of the release.

    With ``index``: their codes and centroids, with a query encoder. Without, zero-shot: ``collection`` is encoded with
    ``document_encoder``, coded with *its* centroids and scored with those of ``encoder``.

    Args:
        encoder: folder of the query encoder; a dual encoder's query side for zero-shot use.
        output: index directory to write; appears whole or not at all.
        index: their Faiss file, with or without the rotation (their zero-shot script saves it without).
        docids: external ids, one a line, in the order of the rows; overrides those of ``collection``.
        collection: the collection that the index was made from (only its first column is read), or, without ``index``,
            the one to encode: ``id<TAB>text`` or JSON lines with ``_id``/``id`` and ``title``, ``text``/``contents``.
        document_encoder: dual encoder's document side, or STAR; goes into the index directory, so that documents can be
            encoded and added.
        tokenizer: see :func:`.release_encoder.to_text_encoder`.
        max_query_length: tokens; None: 32 with ``index`` and 512 without, as in their scripts.
        progress: show a bar while documents are encoded.

    Raises:
        JPQError: a file is missing, damaged or another model's, or the parts do not fit together.
    """
    refuse_existing(output)
    if index is None and None in (document_encoder, collection):
        missing = "--document-encoder" if document_encoder is None else "--collection"
        raise JPQError(
            f"{missing} is missing: without --index a collection is encoded, which needs both, or give --index"
        )
    queries = read_encoder(encoder)
    documents = None if document_encoder is None else read_encoder(document_encoder)
    length = max_query_length or (MAX_LENGTH if index is None else MAX_QUERY_LENGTH)
    query_model = to_text_encoder(queries, tokenizer, length)
    document_model = None if documents is None else to_text_encoder(documents, tokenizer, MAX_LENGTH)
    if index is not None:
        codec, codes = read_index(index, queries, documents)
        ids = _docids(len(codes), docids, collection)
    else:
        assert documents is not None  # checked above
        codec = _codec_of_towers(queries, documents)
        ids, codes = _encode(collection, document_model, codec, progress)
        ids = ids if docids is None else _docids(len(codes), docids, None)
    record = _history(index, queries, documents)
    made = JPQIndex(codec, codes, ids, encoder=_encoder_record(documents, document_model), training=record)

    def write_encoders(folder: Path) -> None:
        save_text_encoder(query_model, folder)
        if document_model is not None:
            document_model.save(str(folder.parent / DOCUMENT_ENCODER), create_model_card=False)

    return made.save(output, write_encoders)


def _history(index, queries: ReleasedEncoder, documents: ReleasedEncoder | None) -> TrainingRecord:
    return {
        "imported_from": {
            "release": "https://github.com/jingtaozhan/JPQ",
            "index": None if index is None else {"file": Path(index).name, "sha256": sha256_of(index)},
            "encoder": queries.path.name,
            "document_encoder": None if documents is None else documents.path.name,
            "assignment_centroids": "of the document encoder" if has_own_centroids(documents) else "not published",
        }
    }


def _codec_of_towers(queries: ReleasedEncoder, documents: ReleasedEncoder) -> ProductQuantizer:
    (centroids, rotation), (assigned, other_rotation) = map(_trained_parts, (queries, documents))
    if centroids.shape != assigned.shape:
        raise JPQError(
            f"{queries.path} has centroids of shape {centroids.shape}, {documents.path} of {assigned.shape}: take both "
            "from one archive"
        )
    if not np.allclose(rotation, other_rotation, atol=1e-5):
        raise JPQError(f"{queries.path} and {documents.path} have different rotations: take both from one archive")
    return ProductQuantizer(centroids, assigned, rotation)


def _trained_parts(side: ReleasedEncoder) -> tuple[np.ndarray, np.ndarray]:
    if side.centroids is None or side.rotation is None:
        raise JPQError(
            f"{side.path} has no centroids and rotation, so it is no dual encoder of the release: "
            "give the folders of one mM.tar.gz of their download_jpq_encoders.sh, or --index"
        )
    return side.centroids, side.rotation


def _encoder_record(documents: ReleasedEncoder | None, model) -> EncoderSettings:
    if not has_own_centroids(documents):
        return {}  # without the centroids that OPQ left, a new document cannot be coded as the old ones were
    return {
        "name_or_path": DOCUMENT_ENCODER,  # in the index directory
        "pooling": None,
        "l2_norm": False,
        "max_length": model.max_seq_length,
        "prompt": None,
    }


def _docids(count: int, docids, collection) -> Sequence[str]:
    ids: Sequence[str]
    if docids is not None:
        source, ids = docids, Docids(docids).check()
    elif collection is not None:
        source, ids = collection, [docid for docid, _ in _documents(collection)]
    else:
        return [str(row) for row in range(count)]
    if len(ids) != count:
        raise JPQError(
            f"{source} has {len(ids):,} documents, the index {count:,}: give the file that the index was made from"
        )
    return ids


def _documents(collection: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield (docid, text) of a file with one document a line, texts joined as the authors' scripts do."""
    try:
        with open(collection, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _document(line.rstrip("\r\n"))
                except (ValueError, KeyError, IndexError, TypeError) as error:
                    raise JPQError(
                        f"{collection}:{number}: neither id<TAB>text nor JSON with an id and a text ({error})"
                    ) from error
    except FileNotFoundError as error:
        raise JPQError(f"{collection} is missing: give the file that the index was made from") from error
    except UnicodeDecodeError as error:
        raise JPQError(f"{collection} is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _document(line: str) -> tuple[str, str]:
    if not line.startswith("{"):
        docid, *columns = line.split("\t")
        if not columns:
            raise ValueError("no tab")
        return docid, "<sep>".join(column.rstrip() for column in columns)  # MS MARCO documents: URL, title, body
    document = parse_json(line)
    docid = document["_id"] if "_id" in document else document["id"]
    text = document["text"] if "text" in document else document["contents"]
    return str(docid), (document["title"] + _SEPARATOR + text if "title" in document else text).strip()


def _encode(collection, model, codec: ProductQuantizer, progress: bool) -> tuple[list[str], np.ndarray]:
    """Encode and code a collection; returns docids and codes (N, M) uint8."""
    ids, parts = [], []
    documents = _documents(collection)
    with tqdm(desc="encode", unit="doc", unit_scale=True, disable=None if progress else True) as bar:
        while batch := list(itertools.islice(documents, _ROWS)):
            ids += [docid for docid, _ in batch]
            parts.append(codec.encode(embed_passages(model, [text[:_MAX_CHARACTERS] for _, text in batch])))
            bar.update(len(batch))
    if not ids:
        raise JPQError(f"{collection} holds no documents: give one document a line")
    return ids, np.concatenate(parts)
