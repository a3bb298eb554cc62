"""Where ``index add`` and ``index build`` get documents from: ``--corpus``, encoded here, or ``--embeddings``."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from jpq_pyserini.codec.neighbours import Neighbourhood
from jpq_pyserini.data.corpus import Corpus
from jpq_pyserini.data.flat import FlatFolder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import coding, grow
from jpq_pyserini.index.collection import JPQIndex
from jpq_pyserini.index.record import encoder_settings

_BATCH_SIZE = 32


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that :class:`Source` reads."""
    add = parser.add_argument
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--corpus", metavar="C", help="JSON-lines file or folder (id, contents; .gz too), encoded as jpq.json records"
    )
    given.add_argument("--embeddings", metavar="FLAT", help="flat Faiss folder of that encoder's embeddings")
    add("--encoder", metavar="NAME", help="another name or path of the recorded document encoder")
    add("--device", metavar="D", help="device that encodes (default: a GPU when there is one)")
    add("--batch-size", type=int, metavar="N", help=f"documents encoded at once (default: {_BATCH_SIZE})")
    add("--resume", action="store_true", help="with --corpus: go on from where a stopped run was, if there was one")


class Source:
    """The documents that the command line names.

    Attributes:
        name: the path as given.
        docids: their ids, in order.

    Raises:
        JPQError: the path is missing or damaged; a flag does not go with the source.
    """

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self._log: coding.CodeLog | None = None
        self.name = args.corpus or args.embeddings
        if args.batch_size is not None and args.batch_size < 1:
            raise JPQError(f"--batch-size {args.batch_size}: must be at least 1")
        if args.corpus:
            self._corpus = Corpus(args.corpus)
            self.docids = self._corpus.docids()
        else:
            for flag in ("encoder", "device", "batch-size", "resume"):
                if getattr(args, flag.replace("-", "_")):
                    raise JPQError(f"--{flag} goes with --corpus; embeddings are not encoded again: leave it out")
            self._flat = FlatFolder.open(args.embeddings)
            self.docids = self._flat.docids

    def codes(self, like: JPQIndex, output: str | os.PathLike, reference: Neighbourhood | None = None) -> np.ndarray:
        """Return codes (n, M) uint8 by the codec and the document encoder of ``like``.

        Neighbours, if the codec wants any, are looked for in ``reference``; if that is None, among the documents.

        Until :meth:`forget`, a folder beside ``output`` keeps what has been encoded.

        Raises:
            JPQError: the encoder is not recorded or not found, has another dimension, or gives no finite embedding.
        """
        progress = sys.stderr.isatty() or bool(self._args.corpus)
        if not self._args.corpus:
            return coding.code_flat(self._flat, like.codec, progress, reference=reference)
        settings = encoder_settings(like.path, self._args.encoder)
        fingerprint = {
            "codec": coding.codec_digest(like.codec),
            "encoder": settings,
            "corpus": self._corpus.fingerprint(),
        }
        together = coding.CHUNK if like.codec.assignment.neighbours and reference is None else 1
        folder = f"{os.fspath(output).rstrip(os.sep)}.coding"
        log = coding.CodeLog(folder, fingerprint, like.codec.m, self._args.resume, together)
        self._log = log
        encoder = _load(settings, like, self._args.device)
        batch_size = self._args.batch_size or _BATCH_SIZE
        return coding.code_corpus(self._corpus, self.docids, like.codec, encoder, log, batch_size, progress, reference)

    def forget(self) -> None:
        """Remove what was kept for ``--resume``: the index is written."""
        if self._log is not None:
            self._log.remove()


def encoder_copier(directory: str | os.PathLike):
    """Return what writes the query encoder of an index directory into a new one; None when it has none."""
    return grow.copy_query_encoder(Path(directory))


def _load(settings: dict, like: JPQIndex, device: str | None):
    import torch

    from jpq_pyserini.encoders.text_encoder import load_text_encoder

    encoder = load_text_encoder(**settings, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dimension = encoder.get_embedding_dimension()
    if dimension != like.codec.dimension:
        raise JPQError(
            f"the encoder {settings['name_or_path']} gives {dimension} dimensions, the codec of {like.path} has "
            f"{like.codec.dimension}: name the encoder that made the documents"
        )
    return encoder
