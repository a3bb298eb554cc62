"""Which values of ``--encoder`` are ours.

The word ``jpq`` (any case), the folder of a trained query encoder, or a JPQ index directory. A name that merely
contains "jpq" is not, and ours may contain "dpr" or "auto".
"""

import os

from jpq_pyserini.encoders.text_encoder import is_jpq_encoder
from jpq_pyserini.names import QUERY_ENCODER, RECORD, SHARDS

BARE = "jpq"


def encoder_is_ours(encoder, encoder_class: str | None = None) -> bool:
    """Tell whether the value of ``--encoder`` is for ``JPQQueryEncoder`` (``JPQDocumentEncoder`` for documents).

    A saved query encoder is a sentence-transformers folder, which other classes can load too: if ``encoder_class``, the
    value of ``--encoder-class``, names one, that gets it.
    """
    return is_bare(encoder) or is_index_directory(encoder) or (encoder_class is None and is_jpq_encoder(encoder))


def is_bare(encoder) -> bool:
    """Tell whether the value is the word ``jpq`` itself: the encoder that belongs to the index."""
    return isinstance(encoder, str) and encoder.lower() == BARE


def is_index_directory(path) -> bool:
    """Tell whether ``path`` is a JPQ index directory, complete with its query encoder, or stands for several."""
    try:
        if os.path.isfile(os.path.join(path, SHARDS)):
            return True
        return os.path.isfile(os.path.join(path, RECORD)) and os.path.isdir(os.path.join(path, QUERY_ENCODER))
    except (TypeError, ValueError):
        return False
