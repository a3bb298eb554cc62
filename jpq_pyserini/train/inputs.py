"""What a run starts from, read and checked before anything slow begins."""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.tracking import get_available_trackers

from jpq_pyserini.data.embeddings import DocidSource, Source
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.data.topics import TrainingQuery, read_qrels, read_topics, training_pairs
from jpq_pyserini.encoders.limits import limit_queries
from jpq_pyserini.encoders.students import STATIC, some_layers, token_table, with_dimension
from jpq_pyserini.encoders.text_encoder import load_text_encoder, origin_of, query_prompt, weights_digest
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.record import EncoderSettings
from jpq_pyserini.names import DOCID, INDEX
from jpq_pyserini.resume import fingerprint
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.student_config import StudentConfig

logger = logging.getLogger(__name__)

_MOST_HELD_OUT = 2000  # queries, which give RR@10 within 0.01
_HELD_OUT_DRAW = 2  # last element of a seed sequence, unlike those of the batches and of random negatives
#: Settings that a run may change when it is resumed.
_NEUTRAL = ("method", "onnx", "checkpoint_steps", "log_with", "device")


@dataclass(frozen=True)
class EncoderSource:
    """Where the query encoder comes from, as :func:`~jpq_pyserini.encoders.text_encoder.load_text_encoder` takes it.

    Attributes:
        name_or_path: a sentence-transformers model, or a plain Hugging Face one with ``pooling``: its name or folder,
            or a loaded ``SentenceTransformer``, of which a copy is trained.
        pooling: ``"cls"``, ``"mean"``, ``"lasttoken"`` or None.
        l2_norm: normalise; only with ``pooling``.
        query_prompt: text before every query; None for the model's own.
        passage_max_length: tokens at which the passages of the flat folder were cut, recorded for adding documents.
        passage_prefix: text that was put before each of them, with a space; likewise.
        truncate_dim: dimensions kept, of a Matryoshka model; None for what the model says.
        query_encoder: the model that encodes queries, if it is another one than encoded the passages: one that was
            trained before on the same passages, or a smaller one that learns to give its vectors (``"static"``: a table
            of token vectors made from it); None: the same.
        student: how a smaller query encoder is made.
        distil_queries: files of queries that it imitates on, besides the training queries.
    """

    name_or_path: Any
    pooling: str | None = None
    l2_norm: bool = False
    query_prompt: str | None = None
    passage_max_length: int | None = None
    passage_prefix: str | None = None
    truncate_dim: int | None = None
    query_encoder: str | None = None
    student: StudentConfig = field(default_factory=StudentConfig)
    distil_queries: tuple[str, ...] = ()

    def __post_init__(self):
        if self.is_student and self.query_encoder is None and self.student.query_layers is None:
            raise JPQError(
                "a smaller query encoder is asked for, but not which: add --query-layers, or --query-encoder (a model, "
                f"or {STATIC})"
            )
        if self.query_encoder == STATIC and self.student.query_layers is not None:
            raise JPQError(f"--query-encoder {STATIC} has no layers: leave --query-layers out")
        if self.passage_max_length is not None and self.passage_max_length < 1:
            raise JPQError(f"--passage-max-length {self.passage_max_length} is not a whole number of at least 1")

    @property
    def is_student(self) -> bool:
        """Whether the query encoder imitates another one before it is trained."""
        return self.query_encoder == STATIC or self.student != StudentConfig() or bool(self.distil_queries)

    def make_student(self, flat: Embeddings, max_query_length: int, device: str):
        """Make the smaller query encoder, not trained yet.

        Returns:
            It, its teacher, and whether what is linear in it is to be fitted to the teacher's vectors.
        """
        full = replace(self, query_encoder=self.student.teacher, student=StudentConfig(), distil_queries=())
        teacher = full.load(flat, max_query_length, device)
        if self.query_encoder == STATIC:
            return token_table(teacher), teacher, True
        student = teacher
        if self.query_encoder is not None:
            options: dict[str, Any] = {"max_length": max_query_length, "prompt": self.query_prompt, "device": device}
            student = load_text_encoder(self.query_encoder, **options)
            limit_queries(student, max_query_length, query_prompt(student))
        if self.student.query_layers is not None:
            student = some_layers(student, self.student.query_layers)
        dimension = flat.embeddings.shape[1]
        if student.get_embedding_dimension() == dimension and self.student.query_layers is None:
            return student, teacher, False
        return with_dimension(student, dimension, is_normalised(flat)), teacher, True

    def load(self, flat: Embeddings, max_query_length: int, device: str):
        """Load the ``SentenceTransformer``, its queries cut at ``max_query_length`` tokens besides their prompt.

        Raises:
            JPQError: its dimension is not that of ``flat``, or it does not take so many tokens.
        """
        given = self.pooling is not None or not self._made(flat)
        name = self.name_or_path
        options: dict[str, Any] = {
            "pooling": self.pooling if given else flat.encoder.get("pooling"),
            "l2_norm": self.l2_norm if given else bool(flat.encoder.get("l2_norm")),
            "truncate_dim": self.truncate_dim or (flat.encoder.get("truncate_dim") if self._made(flat) else None),
        }
        if self.query_encoder is not None:
            name, options = self.query_encoder, {}
        encoder = load_text_encoder(
            name, max_length=max_query_length, prompt=self.query_prompt, device=device, **options
        )
        limit_queries(encoder, max_query_length, query_prompt(encoder))
        dimension = encoder.get_embedding_dimension()
        if dimension != flat.embeddings.shape[1]:
            name = name if isinstance(name, str) else origin_of(name)
            raise JPQError(
                f"the encoder {name} has dimension {dimension}, the embeddings in {flat.path} have "
                f"{flat.embeddings.shape[1]}: name the encoder that the collection was encoded with"
                + (", or the dimension that was kept as --truncate-dim" if dimension > flat.embeddings.shape[1] else "")
                + (", or add --teacher to train it with a linear layer" if self.query_encoder is not None else "")
            )
        return encoder

    def document_record(self, flat: Embeddings) -> EncoderSettings:
        """What ``jpq.json`` says of the document encoder: what ``flat`` records, else this encoder, untouched."""
        recorded = flat.encoder
        here = {
            "name_or_path": self.name,
            "pooling": self.pooling,
            "l2_norm": self.l2_norm,
            "truncate_dim": self.truncate_dim,
        }
        record = here | {name: recorded[name] for name in here if "name_or_path" in recorded and name in recorded}
        prefix = recorded.get("passage_prefix") if self.passage_prefix is None else self.passage_prefix
        record |= {"max_length": self.passage_max_length or recorded.get("max_length"), "prompt": None}
        record |= {"passage_prefix": prefix}
        optional = ("passage_prefix", "truncate_dim")
        return cast(
            EncoderSettings, {n: value for n, value in record.items() if value is not None or n not in optional}
        )

    def fingerprint(self) -> dict:
        """All of it, the folder of the encoder as a place, however its path is written."""
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"student": asdict(self.student)}
        loaded = not isinstance(self.name_or_path, str)
        return values | {"name_or_path": weights_digest(self.name_or_path) if loaded else self.name}

    @property
    def name(self) -> str | None:
        """The name, or the place of a folder; of a loaded model those it was loaded from, if it was."""
        name = self.name_or_path if isinstance(self.name_or_path, str) else origin_of(self.name_or_path)
        return None if name is None else _place(name)

    def _made(self, flat: Embeddings) -> bool:
        """Whether ``flat`` records that its embeddings are this encoder's."""
        name = flat.encoder.get("name_or_path")
        return name is not None and _place(name) == self.name


def _place(name: str) -> str:
    return os.path.realpath(name) if os.path.isdir(name) else name


def named(source) -> str:
    """Return what records and messages call an input: its file name; of what is no path, what it is."""
    if isinstance(source, str | os.PathLike):
        return os.path.basename(os.path.abspath(source))
    if isinstance(source, list | tuple):
        return ", ".join(map(named, source))
    return "dictionary" if isinstance(source, Mapping) else "array"


@dataclass(frozen=True)
class QueryFiles:
    """Topics and judgements: Pyserini names, files or dictionaries, or None."""

    topics: str | os.PathLike | Mapping[str, str] | None = None
    qrels: str | os.PathLike | Mapping[str, Mapping[str, int]] | None = None

    def read(self, rows: Mapping[str, int], *, flag: str = "", needed: bool, labels: bool) -> list[TrainingQuery]:
        """Read the queries with the rows of their relevant documents; none if no topics were given.

        Args:
            rows: docid → row.
            flag: ``"dev-"`` for messages about ``--dev-topics``.
            needed: missing topics are an error.
            labels: missing judgements are an error, and queries without a relevant document are left out.
        """
        if self.topics is None and (needed or self.qrels is not None):
            raise JPQError(f"--{flag}topics is missing: give the file or Pyserini name of the queries")
        if self.topics is None:
            return []
        if self.qrels is None:
            if labels:
                raise JPQError(f"--{flag}qrels is missing: give the judgements of {named(self.topics)}")
            return [TrainingQuery(qid, text, []) for qid, text in read_topics(self.topics).items()]
        topics, qrels = read_topics(self.topics), read_qrels(self.qrels)
        try:
            pairs, unjudged = training_pairs(topics, qrels, rows)
        except JPQError as error:
            raise JPQError(f"--{flag}topics {self.topics} --{flag}qrels {self.qrels}: {error}") from None
        if unjudged:
            total = unjudged + len(pairs)
            logger.warning(
                "%s: %d of %d queries have no relevant document, left out", named(self.topics), unjudged, total
            )
        return pairs


@dataclass(frozen=True)
class Run:
    """Everything a run was asked for.

    Attributes:
        embeddings: what :func:`jpq_pyserini.data.embeddings.open_embeddings` takes.
        encoder: the query encoder to start from.
        output: index directory to write.
        training, dev: queries and judgements.
        config: the settings.
        negatives_run: run of the training queries, or None.
        docids: of embeddings without any, or None.

    Raises:
        JPQError: a run of negatives is missing, or given where none is read.
    """

    embeddings: Source
    encoder: EncoderSource
    output: str | os.PathLike
    training: QueryFiles
    dev: QueryFiles
    config: TrainConfig
    negatives_run: str | os.PathLike | None = None
    docids: DocidSource = None

    def __post_init__(self):
        source = self.config.negatives_from
        if source == "run" and self.negatives_run is None:
            raise JPQError("--negatives-from run: give the run of the training topics, e.g. BM25's, as --negatives-run")
        if source != "run" and self.negatives_run is not None:
            raise JPQError(
                f"--negatives-run {self.negatives_run} is not read with --negatives-from {source}: "
                "add --negatives-from run, or leave it out"
            )

    def fingerprint(self) -> dict:
        """What two runs must share for one to continue from the other's checkpoint."""
        settings = {name: value for name, value in asdict(self.config).items() if name not in _NEUTRAL}
        files: dict[str, Any] = {}
        if isinstance(self.embeddings, str | os.PathLike) and Path(self.embeddings, INDEX).is_file():
            files |= {"index": Path(self.embeddings, INDEX), "docid": Path(self.embeddings, DOCID)}
        else:
            files |= {"index": self.embeddings, "docid": self.docids}
        files |= {"topics": self.training.topics, "qrels": self.training.qrels}
        files |= {"dev_topics": self.dev.topics, "dev_qrels": self.dev.qrels, "negatives_run": self.negatives_run}
        files |= {"query_encoder": self.encoder.query_encoder, "teacher": self.encoder.student.teacher}
        digests: dict = {name: fingerprint(path) for name, path in files.items()}
        digests["distil_queries"] = [fingerprint(path) for path in self.encoder.distil_queries]
        return settings | self.encoder.fingerprint() | digests


def hold_out(training: list[TrainingQuery], share: float, seed: int) -> tuple[list[TrainingQuery], list[TrainingQuery]]:
    """Part training queries at random in those to train on and those that select the best step.

    Args:
        training: the queries, with their relevant documents; without judgements there is nothing to select by.
        share: of them is held out, at most 2,000.
        seed: of the choice.
    """
    count = min(_MOST_HELD_OUT, round(share * len(training)))
    chosen = set(np.random.default_rng([seed, _HELD_OUT_DRAW]).permutation(len(training))[:count].tolist())
    if not all(query.rows for query in training):
        return training, []
    return (
        [query for i, query in enumerate(training) if i not in chosen],
        [query for i, query in enumerate(training) if i in chosen],
    )


def is_normalised(flat: Embeddings) -> bool:
    """Tell whether the embeddings have length 1, from a sample of 1,000."""
    return bool(np.abs(np.linalg.norm(flat.sample(1000, seed=0), axis=1) - 1.0).max() < 1e-3)


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Resolve ``--precision``: auto is bf16 where the processor multiplies it natively, else fp32."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16", False))


def wants_cpu(config: TrainConfig) -> bool:
    """Resolve ``--device``; :class:`JPQError` if a GPU is asked for and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise JPQError(f"--device cuda: torch {torch.__version__} sees no GPU: use --device cpu")
    return config.device == "cpu"


def check_tracker(name: str | None) -> None:
    """Raise :class:`JPQError` unless ``--log-with`` names a tracker that is installed."""
    installed = sorted(str(tracker) for tracker in get_available_trackers())
    if name not in (None, "all", *installed):
        raise JPQError(
            f"--log-with {name}: accelerate knows no such tracker, or its package is not installed: install it, or "
            f"choose one of {', '.join(installed) or 'tensorboard, wandb, ... and install that'}"
        )
