"""JPQ for Pyserini: dense retrieval in a thirtieth of the memory (Zhan et al., CIKM 2021).

Public names are imported on first use, so that ``import jpq_pyserini`` costs next to nothing: no torch, no Faiss, no
Java. The start-up hook relies on that.
"""

from typing import TYPE_CHECKING

from jpq_pyserini import moved
from jpq_pyserini.lazy import public_names

if TYPE_CHECKING:
    from jpq_pyserini.codec import ProductQuantizer as ProductQuantizer
    from jpq_pyserini.errors import JPQError as JPQError
    from jpq_pyserini.index import JPQIndex as JPQIndex
    from jpq_pyserini.plugin.encoders import JPQDocumentEncoder as JPQDocumentEncoder
    from jpq_pyserini.plugin.encoders import JPQQueryEncoder as JPQQueryEncoder
    from jpq_pyserini.plugin.searcher import JPQFaissSearcher as JPQFaissSearcher
    from jpq_pyserini.train.config import TrainConfig as TrainConfig
    from jpq_pyserini.train.pipeline import train_index as train_index
    from jpq_pyserini.train.student_config import StudentConfig as StudentConfig

__version__ = "0.2.0"

_PUBLIC = {
    "JPQError": "errors",
    "JPQIndex": "index",
    "ProductQuantizer": "codec",
    "JPQQueryEncoder": "plugin.encoders",
    "JPQDocumentEncoder": "plugin.encoders",
    "JPQFaissSearcher": "plugin.searcher",
    "StudentConfig": "train.student_config",
    "TrainConfig": "train.config",
    "train_index": "train.pipeline",
}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)

moved.install()
