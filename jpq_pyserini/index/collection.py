"""JPQIndex: codes, codec and docids of a collection."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np

from jpq_pyserini.codec.neighbours import neighbourhood_of
from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.docids import Docids, JoinedDocids
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import layouts
from jpq_pyserini.index.attached import (
    ArrayVectors,
    Vectors,
    check_fit,
    check_vectors,
    join_vectors,
    rows_of,
    save_vectors,
)
from jpq_pyserini.index.coding import check_codes, codec_digest, encode
from jpq_pyserini.index.directory import IndexDirectory, copy_others
from jpq_pyserini.index.record import (
    FLAT_LAYOUT,
    EncoderSettings,
    IndexRecord,
    TrainingRecord,
    event,
    query_encoder_path,
    write_record,
)
from jpq_pyserini.index.shards import check_shards, known_lists, refuse_repeated, whole_build
from jpq_pyserini.index.vectors import DEFAULT_DTYPE, DTYPES, StoredVectors
from jpq_pyserini.names import CODEC, DOCID, INDEX, QUERY_ENCODER
from jpq_pyserini.storage import new_directory, replacement

_COMPARED = 256  # documents whose vectors are compared with their codes


class JPQIndex:
    """Codes, codec and docids of a collection; :meth:`open` and :meth:`save` tie it to a directory.

    Attributes:
        codec: the :class:`~jpq_pyserini.codec.quantizer.ProductQuantizer`.
        codes: (N, M) uint8; of an opened index, read out of the Faiss index when first asked for.
        docids: N external ids, in row order; of an opened index, lines of its mapped file.
        vectors: the documents' real vectors (:class:`~jpq_pyserini.index.attached.Vectors`), or None.
        coarse: the :class:`~jpq_pyserini.index.layouts.Coarse` centroids of the layouts with inverted lists, else None.
        record: the :class:`IndexRecord`.
        path: the directory it was opened from, or None.
    """

    def __init__(
        self,
        codec: ProductQuantizer,
        codes: np.ndarray | None,
        docids: Sequence[str],
        *,
        layout: str = "pq",
        coarse: layouts.Coarse | None = None,
        encoder: EncoderSettings | None = None,
        training: TrainingRecord | None = None,
        history: list | None = None,
        faiss_index: faiss.Index | None = None,
        vectors: Vectors | None = None,
        rescore: int | None = None,
    ):
        """Put an index together.

        Args:
            codec, docids, coarse: the attributes.
            codes: (N, M) uint8; None where ``faiss_index`` holds them.
            layout: one of :data:`jpq_pyserini.index.layouts.LAYOUTS`.
            vectors: of the documents, in the same order.
            encoder, training, history, rescore: see :class:`IndexRecord`.
            faiss_index: the codes in that layout, if it is built already.

        Raises:
            JPQError: the counts or shapes do not fit, or the layout cannot hold such codes.
        """
        layouts.check_layout(layout, codec.nbits)
        self.codec, self.docids, self.coarse = codec, docids, coarse
        self.path: Path | None = None
        if codes is not None:
            check_codes(codes, docids, codec)
            self.codes = codes
        if faiss_index is not None:
            self.faiss_index = faiss_index
        if vectors is not None:
            check_vectors(vectors, len(docids), codec.dimension)
        self.vectors = vectors
        self.record = IndexRecord(
            codec.dimension,
            codec.m,
            codec.nbits,
            len(docids),
            layout=layout,
            lists=_lists_note(coarse),
            encoder=encoder or {},
            training=training or {},
            history=history or [],
            rescore=rescore,
        )

    def __len__(self) -> int:
        return len(self.docids)

    @functools.cached_property
    def codes(self) -> np.ndarray:
        return layouts.codes_of(self.faiss_index)

    @functools.cached_property
    def faiss_index(self) -> faiss.Index:
        """The Faiss index of this collection; takes unrotated queries (B, D)."""
        return layouts.build(self.codec, self.codes, self.record.layout, self.coarse)

    @property
    def query_encoder_path(self) -> Path:
        """Where the trained query encoder is; :class:`JPQError` if the index was never saved or has none."""
        return query_encoder_path(self.path)

    @classmethod
    def open(cls, directory: str | os.PathLike, *, verify: bool = False, vectors: bool = True) -> "JPQIndex":
        """Open an index directory and check that its parts belong together.

        Args:
            directory: a compressed index directory.
            verify: compare every file with its recorded sha256 first, so that no damage gets into what is made of it.
            vectors: open the documents' real vectors too, if there are any.

        Raises:
            JPQError: a file is missing, empty, truncated or damaged, or the counts, dimensions or layouts differ.
        """
        parts = IndexDirectory.open(directory, vectors=vectors, verify=verify)
        if parts.record.layout == FLAT_LAYOUT:
            raise JPQError(f"{directory} is an uncompressed index, without codes: search it with JPQFaissSearcher")
        coarse, layout = layouts.coarse_of(parts.faiss_index), parts.record.layout
        opened = cls(parts.codec, None, parts.docids, layout=layout, coarse=coarse, faiss_index=parts.faiss_index)
        opened.vectors = parts.vectors if vectors else None
        opened.record, opened.path = parts.record, parts.path
        return opened

    def attach(self, flat: Embeddings, *, dtype: str = DEFAULT_DTYPE, refer: bool = False) -> None:
        """Take the embeddings of a flat folder as :attr:`vectors`; :meth:`save` writes them.

        Args:
            flat: what the codes were made of, in any order; it may hold other documents too.
            dtype: one of :data:`jpq_pyserini.index.vectors.DTYPES`, to write them as.
            refer: do not copy them; the folder, which must have the very documents of this index in the same order,
                has to stay where it is.

        Raises:
            JPQError: the folder lacks a document or is in another order, or holds embeddings of another encoder.
        """
        if dtype not in DTYPES:
            raise JPQError(f"vectors of type {dtype!r}: choose one of {', '.join(DTYPES)}")
        rows = rows_of(flat, self.docids, self.name)
        check_vectors(ArrayVectors(flat.embeddings), len(flat.docids), self.codec.dimension)
        some = np.linspace(0, len(self) - 1, min(_COMPARED, len(self))).astype(np.int64)
        codes = layouts.packed_codes(self.faiss_index)[some]
        check_fit(self.codec.decode(codes), flat.embeddings[some if rows is None else rows[some]], self.name)
        if refer and rows is not None:
            raise JPQError(f"{flat.path} has not the documents of {self.name} in the same order: copy its embeddings")
        if refer:
            flat.check_finite()
        self.vectors = StoredVectors.of_flat(flat.folder) if refer else ArrayVectors(flat.embeddings, dtype, rows)

    def convert(
        self,
        layout: str,
        *,
        nlist: int | None = None,
        nprobe: int | None = None,
        embeddings: np.ndarray | None = None,
        seed: int = 42,
        progress: bool = False,
    ) -> "JPQIndex":
        """Return the same collection in another layout: same codes, codec, docids and encoder.

        Args:
            layout: one of :data:`jpq_pyserini.index.layouts.LAYOUTS`.
            nlist, nprobe, embeddings, seed: see :func:`jpq_pyserini.index.layouts.train_coarse`. The lists that this
                index has already are kept unless ``nlist`` or ``embeddings`` is given.
            progress: show a bar while documents are assigned to lists.

        Raises:
            JPQError: the layout is unknown, cannot hold these codes, or takes no such setting.
        """
        layouts.check_layout(layout, self.codec.nbits)
        coarse = None
        if layout.startswith("ivf"):
            if self.coarse is not None and nlist is None and embeddings is None:
                coarse = replace(self.coarse, nprobe=nprobe or self.coarse.nprobe, note=self.record.lists)
            else:
                coarse = layouts.train_coarse(self.codec, self.codes, nlist, nprobe, embeddings, seed)
        elif nlist or nprobe or embeddings is not None:
            raise JPQError(f"the layout {layout} has no inverted lists: leave nlist, nprobe and embeddings out")
        return self._derived(self.codes, self.docids, self.vectors, layout, coarse, progress=progress)

    def add(
        self,
        embeddings: np.ndarray,
        docids: Sequence[str],
        *,
        source: str | None = None,
        progress: bool = False,
    ) -> "JPQIndex":
        """Return the collection with documents added behind the others, whose codes stay as they are.

        Args:
            embeddings: (n, D) unrotated, of the *document* encoder; a memory map is read a part at a time. They are
                assigned to the assignment centroids, as the first documents were, and scored with the trained ones.
            docids: n external ids.
            source: where they come from, for the history in ``jpq.json``.
            progress: show a bar while documents are assigned to inverted lists.

        Raises:
            JPQError: a docid is there already or comes twice, the counts or dimensions do not fit, or an embedding is
                not finite.
        """
        codes = encode(self.codec, embeddings, docids, neighbourhood_of(self.codec, self.codes))
        vectors = None if self.vectors is None else ArrayVectors(embeddings)
        return self.add_codes(codes, docids, source=source, progress=progress, vectors=vectors)

    def add_codes(
        self,
        codes: np.ndarray,
        docids: Sequence[str],
        *,
        source: str | None = None,
        progress: bool = False,
        vectors: Vectors | None = None,
    ) -> "JPQIndex":
        """As :meth:`add`, of documents (n, M) uint8 that :attr:`codec` has encoded already.

        ``vectors`` are theirs, needed if this index has vectors; they become of the type that it has.
        """
        check_codes(codes, docids, self.codec)
        refuse_repeated((self.name, self.docids), (source or "the new documents", docids))
        return self._derived(
            np.concatenate([self.codes, codes]),
            JoinedDocids([self.docids, docids]),
            join_vectors([(self.name, self.vectors), (source or "the new documents", vectors)]),
            lists=layouts.lists_of(self.faiss_index),
            history=[*self.record.history, event("add", documents=len(docids), source=source)],
            progress=progress,
        )

    @classmethod
    def merge(cls, indexes: "Sequence[JPQIndex]", *, progress: bool = False) -> "JPQIndex":
        """Join indexes of one codec, in order; nothing is decoded, and documents keep their codes and lists.

        The encoder and the training record are those of the first one; so are the inverted lists, to which documents
        from other lists are assigned. The shards of one build, in whatever order, become what one process would have
        built of the whole collection.

        Raises:
            JPQError: codec, layout, document encoder or query encoder differ, a docid comes twice, or a shard of a
                build is missing.
        """
        check_shards(indexes)
        indexes, source = whole_build(indexes)
        if source is not None:
            history = [event("build", documents=sum(map(len, indexes)), source=source)]
            joined = cls._joined(indexes, "pq", history)
            layout = indexes[0].record.layout
            return joined if layout == "pq" else joined.convert(layout, progress=progress)
        parts = [{"index": index.name, "documents": len(index), "history": index.record.history} for index in indexes]
        lists = known_lists(indexes)
        return cls._joined(indexes, None, [event("merge", indexes=parts)], lists=lists, progress=progress)

    @staticmethod
    def _joined(indexes: "Sequence[JPQIndex]", layout: str | None, history: list, **options) -> "JPQIndex":
        return indexes[0]._derived(
            np.concatenate([index.codes for index in indexes]),
            JoinedDocids([index.docids for index in indexes]),
            join_vectors([(index.name, index.vectors) for index in indexes]),
            layout,
            history=history,
            **options,
        )

    def zero_shot(
        self,
        codes: np.ndarray,
        docids: Sequence[str],
        *,
        source: str | None = None,
        progress: bool = False,
        vectors: Vectors | None = None,
        shard: tuple[int, int] | None = None,
    ) -> "JPQIndex":
        """Return an index of another collection by this index's codec, encoders and layout; nothing is trained.

        Args:
            codes: (n, M) uint8 by :attr:`codec`.
            docids: n external ids.
            source: where the documents come from, for the history in ``jpq.json``.
            progress: show a bar while documents are assigned to inverted lists, which are newly made for them.
            vectors: of the documents, if the index is to have them.
            shard: (I, N), if they are only shard I of the N of the collection, for the history.
        """
        origin = {
            "index": self.name,
            "documents": len(self),
            "assignment_sha256": codec_digest(self.codec),
            "training": self.record.training,
        }
        built = JPQIndex(
            self.codec,
            codes,
            docids,
            encoder=self.record.encoder,
            training={"zero_shot_of": origin},
            history=[event("build", documents=len(docids), source=source, shard=shard)],
            vectors=vectors,
            rescore=self.record.rescore,
        )
        return built if self.record.layout == "pq" else built.convert(self.record.layout, progress=progress)

    @property
    def name(self) -> str:
        """The directory's path, for messages."""
        return str(self.path) if self.path is not None else "an index that was never saved"

    def _derived(self, codes, docids, vectors, layout=None, coarse=None, *, lists=None, history=None, progress=False):
        """Return an index of other rows or layout with everything else as it is here."""
        layout = layout or self.record.layout
        if layout.startswith("ivf") and coarse is None:
            coarse = replace(self.coarse, note=self.record.lists)
        return JPQIndex(
            self.codec,
            codes,
            docids,
            layout=layout,
            coarse=coarse,
            encoder=self.record.encoder,
            training=self.record.training,
            history=self.record.history if history is None else history,
            faiss_index=layouts.build(self.codec, codes, layout, coarse, progress, lists),
            vectors=vectors,
            rescore=self.record.rescore,
        )

    def save(
        self,
        directory: str | os.PathLike,
        write_query_encoder: Callable[[Path], object] | None = None,
        *,
        replace_existing: bool = False,
    ) -> Path:
        """Write the index directory; it appears whole or not at all.

        Args:
            directory: must not exist, or be empty.
            write_query_encoder: called with the path of the folder to write the query encoder to.
            replace_existing: take the place of an index directory at ``directory``; what is not ours in it is kept.

        Raises:
            JPQError: ``directory`` exists.
            OSError: the disk is full, or not writable; nothing is left behind.
        """
        with (replacement if replace_existing else new_directory)(directory) as partial:
            if replace_existing:
                copy_others(Path(directory), partial)
            faiss.write_index(self.faiss_index, str(partial / INDEX))
            with open(partial / DOCID, "w", encoding="utf-8") as file:
                file.writelines(f"{docid}\n" for docid in self.docids)
            if len(Docids(partial / DOCID).check()) != len(self):
                raise JPQError("a docid holds a line break: give each document a docid of one line")
            self.codec.save(partial / CODEC, beside_index=True)
            if write_query_encoder is not None:
                write_query_encoder(partial / QUERY_ENCODER)
            kept = {} if self.vectors is None else save_vectors(self.vectors, partial)
            write_record(partial, replace(self.record, count=len(self), vectors=kept))
        self.path = Path(directory)
        return self.path

    def push_to_hub(self, repo_id: str, **options) -> str:
        """Upload the saved index to the Hugging Face Hub; see :func:`jpq_pyserini.index.hub.push_to_hub`."""
        from jpq_pyserini.index import hub

        if self.path is None:
            raise JPQError(f"this index was never saved: save it, then push it to {repo_id}")
        return hub.push_to_hub(self.path, repo_id, **options)

    @classmethod
    def from_hub(cls, repo_id: str, **options) -> "JPQIndex":
        """Open an index of the Hugging Face Hub; see :func:`jpq_pyserini.index.hub.from_hub`."""
        from jpq_pyserini.index import hub

        return cls.open(hub.from_hub(repo_id, **options))


def _lists_note(coarse: layouts.Coarse | None) -> dict:
    return {} if coarse is None else {**coarse.note, "nlist": len(coarse.centroids), "nprobe": coarse.nprobe}
