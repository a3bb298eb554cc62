"""From a flat folder, an encoder and judged queries to an index directory."""

import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from jpq_pyserini.codec import ProductQuantizer
from jpq_pyserini.errors import JPQError
from jpq_pyserini.flat import FlatFolder
from jpq_pyserini.index import JPQIndex
from jpq_pyserini.storage import refuse_existing
from jpq_pyserini.text_encoder import load_text_encoder, save_text_encoder
from jpq_pyserini.topics import TrainingQuery, read_qrels, read_topics, training_pairs
from jpq_pyserini.train.config import NORMALISED_SCORE_SCALE, TrainConfig
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import QuantizedSearch
from jpq_pyserini.train.opq import check_sizes, train_opq
from jpq_pyserini.train.trainer import Curve, Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderSource:
    """Where the query encoder comes from, as :func:`~jpq_pyserini.text_encoder.load_text_encoder` takes it.

    Attributes:
        name_or_path: a sentence-transformers model, or a plain Hugging Face one with ``pooling``.
        pooling: ``"cls"``, ``"mean"`` or None.
        l2_norm: normalise; only with ``pooling``.
        query_prompt: text before every query; None for the model's own.
        passage_max_length: tokens at which the passages of the flat folder were cut, recorded for adding documents.
    """

    name_or_path: str
    pooling: str | None = None
    l2_norm: bool = False
    query_prompt: str | None = None
    passage_max_length: int | None = None


@dataclass(frozen=True)
class TrainReport:
    """What a training run made.

    Attributes:
        output: the index directory.
        documents, bytes_per_document, dimension: of the index.
        before, after: RR@10 of OPQ and of the kept weights, on ``evaluated_on`` queries; None without dev queries.
        evaluated_on: number of dev queries.
        best_step, steps: the step whose weights were kept, of all steps.
        seconds: wall time of the whole run.
        curve: the :class:`~jpq_pyserini.train.trainer.Curve`.
    """

    output: Path
    documents: int
    dimension: int
    bytes_per_document: int
    before: float | None
    after: float | None
    evaluated_on: int
    best_step: int
    steps: int
    seconds: float
    curve: Curve

    def __str__(self) -> str:
        smaller = f"{4 * self.dimension / self.bytes_per_document:.0f}x smaller than flat"
        lines = [
            f"index      {self.output}",
            f"documents  {self.documents:,}, {self.bytes_per_document} bytes each, {smaller}",
        ]
        if self.before is not None:
            lines.append(
                f"RR@10      {self.before:.4f} before (OPQ), {self.after:.4f} after, {self.evaluated_on:,} dev queries"
            )
        lines.append(f"steps      {self.steps:,}, weights of step {self.best_step:,} kept")
        lines.append(f"time       {self.seconds:.0f} s")
        return "\n".join(lines)


def train_index(
    embeddings: str | os.PathLike,
    encoder: EncoderSource | str,
    output: str | os.PathLike,
    topics: str | os.PathLike | None = None,
    qrels: str | os.PathLike | None = None,
    dev_topics: str | os.PathLike | None = None,
    dev_qrels: str | os.PathLike | None = None,
    config: TrainConfig | None = None,
    progress: bool = True,
) -> TrainReport:
    """Train a JPQ index and write its directory.

    Args:
        embeddings: flat Faiss folder, as ``python -m pyserini.encode … output --to-faiss`` writes it.
        encoder: the query encoder to start from: the one that goes with ``embeddings``.
        output: index directory to write; must not exist. It appears whole or not at all.
        topics, qrels: training queries and judgements, Pyserini names or files; needed unless ``config.epochs`` is 0.
        dev_topics, dev_qrels: queries to choose the best step by.
        config: the settings.
        progress: show progress bars.

    Raises:
        JPQError: anything wrong with the input; see the message.
    """
    started = time.perf_counter()
    config = config or TrainConfig()
    source = EncoderSource(encoder) if isinstance(encoder, str) else encoder
    refuse_existing(output)
    flat = FlatFolder.open(embeddings)
    check_sizes(len(flat.docids), flat.embeddings.shape[1], config.m, config.nbits)
    training, dev = _read_queries(flat, config, (topics, qrels), (dev_topics, dev_qrels))
    device = _device(config.device)
    query_encoder = _load_encoder(source, flat, config, device)

    normalised = _normalised(flat)
    codec, codes = initialise(flat, config, device, progress)
    model = JPQModel(query_encoder, codec, codes, bf16=uses_bf16(config.precision, device)).to(device)
    scale = config.score_scale or (NORMALISED_SCORE_SCALE if normalised else 1.0)
    trainer = Trainer(model, QuantizedSearch(codec, codes), config, scale, training, dev, progress)
    curve = trainer.run()

    trained = codec.with_centroids(model.centroids.detach().cpu().numpy())
    record = {
        "config": asdict(config) | {"score_scale": scale, "centroid_lr": config.effective_centroid_lr},
        "data": {
            name: str(value)
            for name, value in (
                ("embeddings", embeddings),
                ("topics", topics),
                ("qrels", qrels),
                ("dev_topics", dev_topics),
                ("dev_qrels", dev_qrels),
            )
            if value is not None
        },
        "training_queries": len(training),
        "dev_queries": len(dev),
        "steps": trainer.total_steps,
        "best_step": curve.best_step,
        "curve": curve.points,
        "seconds": {phase: round(seconds, 1) for phase, seconds in curve.seconds.items()},
    }
    index = JPQIndex(trained, codes, flat.docids, encoder=_document_encoder(source), training=record)
    path = index.save(output, lambda folder: save_text_encoder(query_encoder, folder))
    scores = {point["step"]: point["rr@10"] for point in curve.points}
    return TrainReport(
        output=path,
        documents=len(index),
        dimension=codec.dimension,
        bytes_per_document=codec.bytes_per_document,
        before=scores[0],
        after=scores[curve.best_step],
        evaluated_on=len(dev),
        best_step=curve.best_step,
        steps=trainer.total_steps,
        seconds=time.perf_counter() - started,
        curve=curve,
    )


def initialise(
    flat: FlatFolder, config: TrainConfig, device: str, progress: bool = True
) -> tuple[ProductQuantizer, np.ndarray]:
    """OPQ initialisation: learn rotation and centroids from a sample, then code every document.

    Returns:
        The codec and the codes (N, M) uint8. Memory: the sample, one chunk of embeddings, and the codes.
    """
    sample = flat.sample(config.opq_sample, config.seed)
    if not np.isfinite(sample).all():
        for _ in flat.chunks():  # names the row
            pass
    rotation, centroids = train_opq(
        sample,
        config.m,
        config.nbits,
        rotate=config.opq,
        iterations=config.opq_iterations,
        seed=config.seed,
        device=device,
        progress=progress,
    )
    codec = ProductQuantizer(centroids, centroids, rotation)
    codes = np.empty((len(flat.docids), config.m), dtype=np.uint8)
    with tqdm(total=len(codes), desc="code", unit="doc", unit_scale=True, disable=not progress) as bar:
        for start, chunk in flat.chunks():
            codes[start : start + len(chunk)] = codec.encode(chunk)
            bar.update(len(chunk))
    return codec, codes


def _read_queries(flat: FlatFolder, config: TrainConfig, training, dev) -> tuple[list[TrainingQuery], ...]:
    rows = {docid: row for row, docid in enumerate(flat.docids)}
    if len(rows) < len(flat.docids):
        raise JPQError(
            f"{flat.path / 'docid'}: {len(flat.docids) - len(rows):,} docids occur twice: encode each document once"
        )
    read = []
    for flag, (topics, qrels), needed in (("", training, config.epochs > 0), ("dev-", dev, False)):
        if (topics is None) != (qrels is None) or (needed and topics is None):
            missing = f"--{flag}topics" if topics is None else f"--{flag}qrels"
            raise JPQError(f"{missing} is missing: give --{flag}topics and --{flag}qrels together")
        if topics is None:
            read.append([])
            continue
        pairs, unjudged = training_pairs(read_topics(topics), read_qrels(qrels), rows)
        if unjudged:
            logger.warning(
                "%s: %d of %d queries have no relevant document and are left out",
                topics,
                unjudged,
                unjudged + len(pairs),
            )
        read.append(pairs)
    return tuple(read)


def _load_encoder(source: EncoderSource, flat: FlatFolder, config: TrainConfig, device: str):
    encoder = load_text_encoder(
        source.name_or_path,
        pooling=source.pooling,
        l2_norm=source.l2_norm,
        max_length=config.max_query_length,
        prompt=source.query_prompt,
        device=device,
    )
    dimension = encoder.get_embedding_dimension()
    if dimension != flat.embeddings.shape[1]:
        raise JPQError(
            f"the encoder {source.name_or_path} has dimension {dimension}, the embeddings in {flat.path} have "
            f"{flat.embeddings.shape[1]}: name the encoder that the collection was encoded with"
        )
    return encoder


def _document_encoder(source: EncoderSource) -> dict:
    name = source.name_or_path
    return {
        "name_or_path": os.path.abspath(name) if os.path.isdir(name) else name,
        "pooling": source.pooling,
        "l2_norm": source.l2_norm,
        "max_length": source.passage_max_length,
        "prompt": None,
    }


def _normalised(flat: FlatFolder) -> bool:
    norms = np.linalg.norm(flat.sample(1000, seed=0), axis=1)
    return bool(np.abs(norms - 1.0).max() < 1e-3)


def uses_bf16(precision: str, device: str) -> bool:
    """Resolve ``--precision``: auto is bf16 where the processor multiplies it natively, else fp32."""
    if precision != "auto":
        return precision == "bf16"
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False))


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise JPQError(f"--device {name} is no torch device: use cpu, cuda or cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise JPQError(f"--device {name}: torch {torch.__version__} sees no GPU: use --device cpu")
    return name
