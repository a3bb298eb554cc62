"""Training: OPQ initialisation, then query encoder and centroids together on the quantized scores."""

from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.inputs import EncoderSource
from jpq_pyserini.train.pipeline import train_index
from jpq_pyserini.train.report import TrainReport

__all__ = ["EncoderSource", "TrainConfig", "TrainReport", "train_index"]
