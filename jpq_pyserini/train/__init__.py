"""Training: OPQ initialisation, then query encoder and centroids together on the quantized scores."""

from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.pipeline import EncoderSource, TrainReport, train_index

__all__ = ["EncoderSource", "TrainConfig", "TrainReport", "train_index"]
