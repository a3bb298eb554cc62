"""Training: OPQ initialisation, then query encoder and centroids together on the quantized scores.

Public names are imported on first use, so that ``--help`` and what is wrong with arguments cost no torch.
"""

from typing import TYPE_CHECKING

from jpq_pyserini.lazy import public_names

if TYPE_CHECKING:
    from jpq_pyserini.train.config import TrainConfig as TrainConfig
    from jpq_pyserini.train.inputs import EncoderSource as EncoderSource
    from jpq_pyserini.train.pipeline import train_index as train_index
    from jpq_pyserini.train.report import TrainReport as TrainReport
    from jpq_pyserini.train.student_config import StudentConfig as StudentConfig


_PUBLIC = {
    "EncoderSource": "inputs",
    "StudentConfig": "student_config",
    "TrainConfig": "config",
    "TrainReport": "report",
    "train_index": "pipeline",
}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
