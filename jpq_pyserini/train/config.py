"""The settings of a training run: each default lives here once, and the command line is made from these fields."""

import math
from dataclasses import dataclass, field, fields

from jpq_pyserini.cli import check_choices
from jpq_pyserini.errors import JPQError

#: Section 4.3 of the paper: the centroids' learning rate by M.
PAPER_CENTROID_LR = {16: 5e-6, 24: 5e-6, 32: 2e-5, 48: 1e-4, 64: 1e-4, 96: 1e-4}
#: A score scale that lets pairwise losses move normalised embeddings, whose scores differ by a few hundredths.
NORMALISED_SCORE_SCALE = 20.0
#: Chosen on SQuAD's val and training questions, as the number of neighbours was.
ANISOTROPY, ANISOTROPY_WITH_NEIGHBOURS = 3.0, 10.0

LOSSES = ("lambdarank", "ranknet", "hinge")
_AT_LEAST_ONE = {
    "negatives",
    "batch_size",
    "opq_sample",
    "max_query_length",
    "lambda_cut",
    "checkpoint_steps",
    "max_steps",
    "patience",
    "eval_steps",
}
_ABOVE_ZERO = {"score_scale", "max_grad_norm"}
NBITS = (4, 8)
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
SCORINGS = ("quantized", "flat")
NEGATIVE_SOURCES = ("quantized", "flat", "static", "random", "run")
_MOST_NEIGHBOURS = 64
_NEGATIVES_WITHOUT_CODES = ("flat", "random", "run")
ENCODER_PARTS = ("all", "no-word-embeddings", "none")


def _setting(default, text: str, **metadata):
    return field(default=default, metadata={"help": f"{text} (default: {_shown(default, metadata)})", **metadata})


def _shown(default, metadata) -> str:
    return metadata.get("shown") or str(default)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of :func:`jpq_pyserini.train.train_index`; defaults are the paper's (section 4.3) where it gives one."""

    m: int = _setting(48, "M: bytes a document at 8 bits; must divide the dimension", alias="--sub-vectors")
    nbits: int = _setting(8, "bits a code", choices=NBITS)
    opq: bool = _setting(True, "learn a rotation (OPQ); without it plain PQ")
    opq_sample: int = _setting(65536, "embeddings that OPQ learns from, drawn at random")
    opq_iterations: int = _setting(40, "rounds of OPQ")
    anisotropy: float | None = _setting(
        None,
        "what an error along a document costs more than one across it when codes are chosen; 0 is the paper's choice, "
        "the nearest centroids",
        shown=f"{ANISOTROPY:g}, with --neighbours {ANISOTROPY_WITH_NEIGHBOURS:g}",
    )
    neighbours: int = _setting(
        0,
        "errors towards so many nearest neighbours, among at most 65,536 documents, cost more when codes are chosen: "
        "better at 16 to 48 bytes, but coding takes ten times as long; 8 is a good number",
    )
    loss: str = _setting("lambdarank", "pairwise loss on the quantized scores", choices=LOSSES)
    lambda_cut: int = _setting(
        200, "LambdaRank: ranks below this weigh nothing; the paper's 200 for passages, 10 for documents"
    )
    margin: float = _setting(1.0, "hinge: the margin, in scaled scores")
    scoring: str = _setting(
        "quantized", "scores in the loss: s† of the codes, or s of the uncompressed embeddings", choices=SCORINGS
    )
    negatives_from: str = _setting(
        "quantized",
        "where negatives come from: searched at every step in the codes with the current centroids (quantized), in the "
        "uncompressed embeddings (flat), or in the codes as they were before training, by the encoder as it was "
        "(static); drawn from the whole collection at every step (random); or the best of --negatives-run (run)",
        choices=NEGATIVE_SOURCES,
    )
    distillation: float = _setting(
        0.0,
        "weight, 0 to 1, of the KL divergence from the scores of the untouched encoder on the uncompressed embeddings; "
        "the ranking loss has the rest; 1 needs no --qrels",
    )
    reconstruction: float = _setting(0.0, "weight of the reconstruction error of the relevant documents (DPQ)")
    compress: bool = _setting(True, "write codes; without it a flat index with the trained encoder (ADORE)")
    negatives: int = _setting(
        200, "irrelevant documents taken as negatives for each query: the top ones, or as many drawn"
    )
    score_scale: float | None = _setting(
        None,
        "scores are multiplied by this in the loss",
        shown=f"{NORMALISED_SCORE_SCALE:g} if the embeddings are normalised, else 1",
    )
    epochs: float = _setting(6.0, "passes over the training queries; 0 writes the OPQ index as it is")
    max_steps: int | None = _setting(None, "stop after this many steps", shown="as --epochs says")
    batch_size: int = _setting(32, "queries a step")
    encoder_lr: float = _setting(5e-6, "learning rate of the query encoder")
    centroid_lr: float | None = _setting(
        None, "learning rate of the centroids", shown="the paper's for M: 5e-6 up to 24, 2e-5 up to 32, 1e-4 above"
    )
    weight_decay: float = _setting(0.01, "AdamW weight decay of the encoder; centroids have none")
    warmup_steps: int | None = _setting(None, "steps of linear warm-up", shown="2000, but at most a tenth of all steps")
    max_grad_norm: float = _setting(1.0, "gradients of the encoder are clipped to this norm")
    train_encoder: str = _setting(
        "no-word-embeddings", "which part of the query encoder is trained", choices=ENCODER_PARTS
    )
    train_centroids: bool = _setting(True, "train the centroids (the paper's PQ centroid optimisation)")
    dropout: bool = _setting(True, "keep the encoder's dropout on while training")
    log_with: str | None = _setting(None, "tracker of accelerate's, say tensorboard", shown="none")
    precision: str = _setting(
        "auto",
        "arithmetic of the encoder while training; auto takes bf16 where the processor has instructions for it",
        choices=PRECISIONS,
    )
    max_query_length: int = _setting(32, "queries are cut at this many tokens")
    eval_steps: int | None = _setting(
        None,
        "steps between two evaluations on the dev queries; the start and the last step are evaluated in any case",
        shown="ten in a run, after that at its start",
    )
    patience: int | None = _setting(None, "stop after this many evaluations without a better one", shown="never")
    checkpoint_steps: int = _setting(500, "steps between two checkpoints, which --resume goes on from")
    seed: int = _setting(42, "seed of everything random")
    device: str = _setting("auto", "auto takes a GPU when there is one", choices=DEVICES)

    def __post_init__(self):
        check_choices(self)
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            flag = f"--{field_.name.replace('_', '-')} {value}"
            least = 1 if field_.name in _AT_LEAST_ONE else 0
            if not math.isfinite(value) or value < least:
                raise JPQError(f"{flag}: must be a number of at least {least}")
            if field_.name in _ABOVE_ZERO and value == 0:
                raise JPQError(f"{flag}: must be above 0")
        if not 0 <= self.distillation <= 1:
            raise JPQError(f"--distillation {self.distillation}: a weight between 0 and 1")
        self._check_combinations()

    def _check_combinations(self):
        if self.neighbours > _MOST_NEIGHBOURS:
            raise JPQError(f"--neighbours {self.neighbours}: at most {_MOST_NEIGHBOURS}, and 8 is enough")
        if self.neighbours and not self.compress:
            raise JPQError("--neighbours is about codes, and --no-compress writes none: leave one of them out")
        if not self.compress and (self.scoring != "flat" or self.negatives_from not in _NEGATIVES_WITHOUT_CODES):
            raise JPQError(
                "--no-compress trains on the flat index: add --scoring flat, and --negatives-from "
                f"{', '.join(_NEGATIVES_WITHOUT_CODES[:-1])} or {_NEGATIVES_WITHOUT_CODES[-1]}"
            )
        if self.reconstruction and not self.labels_needed:
            raise JPQError("--reconstruction needs relevant documents: lower --distillation below 1, and give --qrels")
        if self.compress and self.train_centroids and self.scoring == "flat" and not self.reconstruction:
            raise JPQError("--scoring flat gives the centroids no gradient: add --no-train-centroids")

    @property
    def labels_needed(self) -> bool:
        """Whether training needs judgements: always, unless the loss is distillation alone."""
        return self.distillation < 1

    @property
    def effective_anisotropy(self) -> float:
        """h: as set, else the default, which depends on ``neighbours``."""
        if self.anisotropy is not None:
            return self.anisotropy
        return ANISOTROPY_WITH_NEIGHBOURS if self.neighbours else ANISOTROPY

    @property
    def effective_centroid_lr(self) -> float:
        """The centroids' learning rate: as set, else the paper's for the nearest M that is not larger."""
        if self.centroid_lr is not None:
            return self.centroid_lr
        return PAPER_CENTROID_LR[max((m for m in PAPER_CENTROID_LR if m <= self.m), default=16)]
