"""The settings of a training run: each default lives here once, and the command line is made from these fields."""

import warnings
from dataclasses import InitVar, dataclass
from typing import Any

from jpq_pyserini.cli import check_settings, flag_of, setting
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index.vectors import DEFAULT_DTYPE, DTYPES

#: Section 4.3 of the paper: the centroids' learning rate by M.
PAPER_CENTROID_LR = {16: 5e-6, 24: 5e-6, 32: 2e-5, 48: 1e-4, 64: 1e-4, 96: 1e-4}
#: A score scale that lets pairwise losses move normalised embeddings, whose scores differ by a few hundredths.
NORMALISED_SCORE_SCALE = 20.0
#: h of score-aware codes; both chosen on SQuAD's val and training questions, as the number of neighbours was.
SCORE_AWARE, SCORE_AWARE_WITH_NEIGHBOURS = 3.0, 10.0

IN_BATCH = "in-batch"
LOSSES = ("lambdarank", "ranknet", "hinge", IN_BATCH)
NBITS = (4, 8)
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
SCORINGS = ("quantized", "flat", "both")
VECTORS = ("none", *DTYPES, "flat")
NEGATIVE_SOURCES = ("quantized", "flat", "static", "random", "run")
_NEGATIVES_WITHOUT_CODES = ("flat", "random", "run")
ENCODER_PARTS = ("all", "no-word-embeddings", "none")
_UINT64 = (1 << 64) - 1  # what the libraries underneath take for a seed


@dataclass(frozen=True)
class Method:
    """A known training method: the settings that make it, and a line about it."""

    settings: dict[str, Any]
    summary: str

    @property
    def flags(self) -> str:
        """The settings as they are typed."""
        return " ".join(
            flag_of(f"no-{name}")
            if value is False
            else f"{flag_of(name)} {format(value, 'g' * isinstance(value, float))}"
            for name, value in self.settings.items()
        )


_FLAT = {"compress": False, "scoring": "flat"}
#: Values of ``--method``.
METHODS = {
    "jpq": Method({}, "JPQ with score-aware codes: the default"),
    "jpq-neighbours": Method({"neighbours": 8}, "the same, codes also separate nearest neighbours"),
    "jpq-rescore": Method({"rescore": 200}, "JPQ for two-stage search, with the document vectors on disk"),
    "jpq-paper": Method({"score_aware": 0.0}, "JPQ as published"),
    "opq": Method({"score_aware": 0.0, "epochs": 0.0}, "OPQ without training; needs no queries"),
    "jpq-negatives": Method(
        {"score_aware": 0.0, "scoring": "flat", "train_centroids": False}, "OPQ + JPQ negatives (figure 7 of the paper)"
    ),
    "jpq-loss": Method({"score_aware": 0.0, "train_centroids": False}, "OPQ + JPQ negatives + JPQ loss (figure 7)"),
    "dpq": Method(
        {"score_aware": 0.0, "reconstruction": 1.0, "negatives_from": "static"}, "DPQ, with static negatives"
    ),
    "distillation": Method({"distillation": 1.0}, "JPQ that imitates the uncompressed scores; needs no --qrels"),
    "adore": Method({**_FLAT, "negatives_from": "flat"}, "ADORE: dynamic hard negatives, uncompressed index"),
    "rand-neg": Method({**_FLAT, "negatives_from": "random"}, "random negatives, uncompressed index"),
    "bm25-neg": Method({**_FLAT, "negatives_from": "run"}, "top hits of --negatives-run, uncompressed index"),
}


def _count(default: int | None, help: str, **metadata):
    return setting(default, help, **{"least": 1, **metadata})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of :func:`jpq_pyserini.train.train_index`; defaults are the paper's (section 4.3) where it gives one.

    ``method`` is the name under which a training is recorded: :meth:`of_method` makes the settings of a known one.
    ``anisotropy`` is what 0.1.0 called ``score_aware``.

    Raises:
        JPQError: a value out of bounds, or settings that contradict each other.
    """

    method: str = setting("jpq", "start from the settings of a known method, see below; flags override them")
    m: int = _count(48, "number of sub-vectors M: bytes per document at 8 bits; must divide the dimension",
                    aliases=("--sub-vectors",))  # fmt: skip
    nbits: int = setting(8, "bits per code", choices=NBITS)
    opq: bool = setting(True, "learn a rotation (OPQ) instead of plain PQ")
    opq_sample: int = _count(65536, "embeddings that OPQ is trained on, a random sample")
    opq_iterations: int = _count(40, "iterations of OPQ", least=0)
    score_aware: float | None = setting(
        None,
        "extra weight h >= 0 of quantization error parallel to the document vector when codes are assigned "
        "(score-aware loss, Guo et al. 2020); 0 assigns the nearest centroids, as in the JPQ paper",
        f"{SCORE_AWARE:g}, with --neighbours {SCORE_AWARE_WITH_NEIGHBOURS:g}",
        aliases=("--anisotropy",),
        least=0,
    )
    neighbours: int = setting(
        0,
        "also penalise error in the direction of each document's N nearest neighbours in the collection. Helps at 16 "
        "to 48 bytes; coding takes three to six times as long. 0 is off, 8 recommended",
        aliases=("--neighbors",),
        least=0,
        most=64,
    )
    loss: str = setting(
        "lambdarank",
        "ranking loss: pairwise over a query's own negatives (lambdarank, ranknet, hinge), or softmax cross-entropy of "
        "each relevant document against the documents of all queries of the batch (in-batch)",
        choices=LOSSES,
    )
    lambda_cut: int = _count(
        200, "LambdaRank: ranks beyond this cut-off get zero weight; the paper takes 200 for passages, 10 for documents"
    )
    margin: float = setting(1.0, "margin of the hinge loss, in scaled scores", least=0)
    scoring: str | None = setting(
        None,
        "scores in the loss: of the quantized or of the uncompressed (flat) embeddings, or the mean loss of both",
        "quantized, with --rescore both",
        choices=SCORINGS,
    )
    negatives_from: str = setting(
        "quantized",
        "source of negatives: top documents of the quantized index, searched at every step with the current encoder "
        "and centroids (quantized); of the uncompressed index, likewise (flat); of the untrained quantized index by "
        "the untrained encoder (static); drawn uniformly at every step (random); top hits of --negatives-run (run)",
        choices=NEGATIVE_SOURCES,
    )
    distillation: float = setting(
        0.0,
        "weight, from 0 to 1, of a distillation loss: KL divergence from the scores of the untrained encoder on the "
        "uncompressed embeddings; the ranking loss gets the rest. 1 needs no --qrels",
        least=0,
        most=1,
    )
    reconstruction: float = setting(
        0.0, "weight of the reconstruction error of the relevant documents in the loss (DPQ)", least=0
    )
    rescore: int = setting(
        0,
        "train for two-stage search: the quantized index proposes N candidates, the uncompressed document vectors rank "
        "them; on dev queries likewise. 0 trains for search in the quantized index alone",
        least=0,
    )
    vectors: str | None = setting(
        None,
        "document vectors stored with the index for two-stage search, a quarter (int8), half or all of the size of the "
        "embeddings on disk; flat refers to the folder of --embeddings, which then has to stay",
        "none, with --rescore int8",
        choices=VECTORS,
    )
    compress: bool = setting(True, "write a quantized index; without it a flat index with the trained query encoder")
    negatives: int = _count(200, "negatives per query")
    score_scale: float | None = setting(
        None,
        "factor on scores in the loss (an inverse temperature)",
        f"{NORMALISED_SCORE_SCALE:g} if the embeddings are normalised, else 1",
        above=0,
    )
    epochs: float = setting(
        6.0, "passes over the training queries; 0 writes the untrained index", least=0, most=1_000_000
    )
    max_steps: int | None = _count(None, "stop after this many steps", shown="as --epochs says")
    batch_size: int = _count(32, "queries per step")
    encoder_lr: float = setting(5e-6, "learning rate of the query encoder", least=0)
    centroid_lr: float | None = setting(
        None, "learning rate of the centroids", "the paper's for M: 5e-6 up to 24, 2e-5 up to 32, 1e-4 above", least=0
    )
    weight_decay: float = setting(0.01, "AdamW weight decay of the encoder; centroids have none", least=0)
    warmup_steps: int | None = _count(
        None, "steps of linear warm-up", shown="2000, but at most a tenth of all steps", least=0
    )
    max_grad_norm: float = setting(1.0, "gradients of the encoder are clipped to this norm", above=0)
    train_encoder: str = setting("no-word-embeddings", "trained part of the query encoder", choices=ENCODER_PARTS)
    train_centroids: bool = setting(True, "train the centroids")
    dropout: bool = setting(True, "use the encoder's dropout in training")
    log_with: str | None = setting(None, "experiment tracker supported by accelerate, e.g. tensorboard", "none")
    precision: str = setting(
        "auto",
        "arithmetic of the encoder in training; auto is bf16 on processors that multiply it natively, else fp32",
        choices=PRECISIONS,
    )
    max_query_length: int = _count(32, "queries are truncated to this many tokens", least=2)
    held_out: float = setting(
        0.1,
        "without dev queries this share of the training queries, at most 2,000, is not trained on and selects the best "
        "step in their place. 0 trains on all and keeps the last weights",
        least=0,
        most=0.5,
    )
    eval_steps: int | None = _count(
        None,
        "evaluate on the dev queries every N steps, and before the first and after the last",
        shown="ten evaluations after the first",
    )
    patience: int | None = _count(None, "stop early after N evaluations without improvement", shown="never")
    checkpoint_steps: int = _count(500, "write a checkpoint for --resume every N steps")
    onnx: bool = setting(True, "export the query encoder for ONNX Runtime, which runs it faster on CPUs")
    seed: int = setting(42, "random seed", least=0, most=_UINT64)
    device: str = setting("auto", "auto is a GPU if there is one", choices=DEVICES)
    anisotropy: InitVar[float | None] = None

    def __post_init__(self, anisotropy: float | None):
        if anisotropy is not None:
            warnings.warn("TrainConfig(anisotropy=…) is now score_aware=…", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "score_aware", anisotropy)
        check_settings(self)
        settings = settings_of(self.method)
        contradiction = self._contradiction()
        if contradiction:
            means = f" (--method {self.method} means {METHODS[self.method].flags})" if settings else ""
            raise JPQError(contradiction + means)
        if settings and not any(getattr(self, name) == value for name, value in settings.items()):
            raise JPQError(
                f"--method {self.method} means {METHODS[self.method].flags}, and none of it is left: leave it out "
                f"(in Python, TrainConfig.of_method({self.method!r}) makes these settings)"
            )

    @classmethod
    def of_method(cls, method: str, **settings) -> "TrainConfig":
        """Return the settings of a known method, overridden by ``settings``: ``TrainConfig.of_method("adore", m=48)``.

        Raises:
            JPQError: no such method, or settings that contradict it.
        """
        return cls(**{**settings_of(method), **settings, "method": method})

    def _contradiction(self) -> str | None:
        if self.neighbours and not self.compress:
            return "--neighbours is about codes, and --no-compress writes none: leave one of them out"
        if not self.compress and (self.rescore or self.effective_vectors != "none"):
            return "--rescore and --vectors are for quantized indexes, --no-compress writes none: leave one of them out"
        if not self.compress and (self.scoring != "flat" or self.negatives_from not in _NEGATIVES_WITHOUT_CODES):
            return (
                "--no-compress trains on the flat index: add --scoring flat, and --negatives-from "
                f"{', '.join(_NEGATIVES_WITHOUT_CODES[:-1])} or {_NEGATIVES_WITHOUT_CODES[-1]}"
            )
        if self.reconstruction and not self.labels_needed:
            return "--reconstruction needs relevant documents: lower --distillation below 1, and give --qrels"
        if self.rescore and self.effective_vectors == "none":
            return f"--rescore {self.rescore} needs the document vectors: leave --vectors none out"
        if self.compress and self.train_centroids and self.scoring == "flat" and not self.reconstruction:
            return "--scoring flat gives the centroids no gradient: add --no-train-centroids"
        return None

    @property
    def labels_needed(self) -> bool:
        """Whether training needs relevance judgements: always, unless the loss is distillation alone."""
        return self.distillation < 1

    @property
    def effective_scoring(self) -> str:
        """Scores in the loss: as set, else the default, which depends on ``rescore``."""
        return self.scoring or ("both" if self.rescore else "quantized")

    @property
    def effective_vectors(self) -> str:
        """How document vectors are stored: as set, else the default, which depends on ``rescore``."""
        return self.vectors or (DEFAULT_DTYPE if self.rescore else "none")

    @property
    def effective_score_aware(self) -> float:
        """h: as set, else the default, which depends on ``neighbours``."""
        if self.score_aware is not None:
            return self.score_aware
        return SCORE_AWARE_WITH_NEIGHBOURS if self.neighbours else SCORE_AWARE

    @property
    def effective_centroid_lr(self) -> float:
        """The centroids' learning rate: as set, else the paper's for the nearest M that is not larger."""
        if self.centroid_lr is not None:
            return self.centroid_lr
        return PAPER_CENTROID_LR[max((m for m in PAPER_CENTROID_LR if m <= self.m), default=16)]


def settings_of(method: str) -> dict[str, Any]:
    """Return the settings of a known method; :class:`JPQError` if there is no such method."""
    if method not in METHODS:
        raise JPQError(f"--method {method} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[method].settings


def method_table() -> str:
    """The methods as text: name, flags that it stands for, and what it is."""
    lines = ["methods (--method NAME), and the flags that they stand for:"]
    for name, method in METHODS.items():
        lines += [f"  {name:15} {method.summary}", f"{'':18}{method.flags or '(the defaults)'}"]
    return "\n".join(lines)
