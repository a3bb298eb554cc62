"""How a smaller query encoder is made: the settings of :mod:`jpq_pyserini.train.student`."""

from dataclasses import dataclass

from jpq_pyserini.cli import check_settings, setting

#: Steps of imitation unless they are set, and learning rates.
IMITATION_STEPS, IMITATION_LR, STATIC_LR = 3000, 3e-4, 2e-3


@dataclass(frozen=True)
class StudentConfig:
    """How a smaller query encoder is made, and imitates the full one before the training.

    Raises:
        JPQError: a value out of bounds.
    """

    query_layers: int | None = setting(
        None,
        "make the query encoder of N layers of --teacher, or of --query-encoder, first and last among them",
        "all",
        least=1,
    )
    teacher: str | None = setting(
        None,
        "query encoder that a smaller one imitates before it is trained, e.g. DIR/query_encoder of a trained index",
        "--encoder",
    )
    distil_steps: int | None = setting(
        None,
        "steps of imitation; needs queries, no judgements",
        f"{IMITATION_STEPS} if a setting of this group is given",
        least=0,
    )
    distil_batch_size: int = setting(128, "queries per step of imitation", least=2, most=1 << 20)
    distil_lr: float | None = setting(None, "its learning rate", f"{IMITATION_LR:g}, static {STATIC_LR:g}", above=0)

    def __post_init__(self):
        check_settings(self)
