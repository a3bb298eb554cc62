"""What a run made: for the user's eyes, and for ``jpq.json``."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from jpq_pyserini.codec.quantizer import ProductQuantizer
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.train.inputs import Run, named
from jpq_pyserini.train.trainer import Curve, Trainer


@dataclass(frozen=True)
class TrainReport:
    """What a training run made.

    Attributes:
        output: the index directory.
        documents, dimension, bytes_per_document: of the index.
        before, after: RR@10 of the start and of the kept weights, on ``evaluated_on`` dev queries; None without any.
        evaluated_on: number of dev queries.
        best_step, steps: the step whose weights were kept, of all steps taken.
        seconds: wall time; of a resumed run with that of the stopped ones, each up to its last checkpoint.
        phases: seconds by phase: load, opq, code, encode, search, loss, update, evaluate, checkpoint,
            write.
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
    phases: dict[str, float]
    curve: Curve

    @classmethod
    def of(
        cls,
        output: str | os.PathLike,
        flat: Embeddings,
        codec: ProductQuantizer | None,
        trainer: Trainer,
    ) -> "TrainReport":
        """Gather the report of a finished run; its times are those so far."""
        curve = trainer.curve
        scores = {point["step"]: point["rr@10"] for point in curve.points}
        dimension = flat.embeddings.shape[1]
        return cls(
            output=Path(output),
            documents=len(flat.docids),
            dimension=dimension,
            bytes_per_document=4 * dimension if codec is None else codec.bytes_per_document,
            before=scores[0],
            after=scores[curve.best_step],
            evaluated_on=len(trainer.dev),
            best_step=curve.best_step,
            steps=trainer.step,
            seconds=trainer.watch.total,
            phases=dict(trainer.watch.seconds),
            curve=curve,
        )

    def __str__(self) -> str:
        smaller = f"{4 * self.dimension / self.bytes_per_document:.0f}x smaller than flat"
        lines = [
            f"index      {self.output}",
            f"documents  {self.documents:,}, {self.bytes_per_document} bytes each, {smaller}",
        ]
        if self.before is not None:
            scores = f"{self.before:.4f} before training, {self.after:.4f} after"
            flat = self.curve.points[0].get("uncompressed rr@10")
            scores += "" if flat is None else f" (uncompressed, before training: {flat:.4f})"
            lines.append(f"RR@10      {scores}, {self.evaluated_on:,} dev queries")
        lines.append(f"steps      {self.steps:,}, weights of step {self.best_step:,} kept")
        split = ", ".join(f"{phase} {seconds:.0f}" for phase, seconds in self.phases.items())
        lines.append(f"time       {self.seconds:.0f} s" + (f" ({split})" if split else ""))
        return "\n".join(lines)


def training_record(run: Run, trainer: Trainer, score_scale: float) -> dict:
    """What ``jpq.json`` keeps of a run, but for its times: enough to run it again and see if the result is the same."""
    curve, config = trainer.curve, trainer.config
    paths = {
        "embeddings": run.embeddings,
        "topics": run.training.topics,
        "qrels": run.training.qrels,
        "dev_topics": run.dev.topics,
        "dev_qrels": run.dev.qrels,
        "negatives_run": run.negatives_run,
    }
    fingerprint = run.fingerprint()
    return {
        "config": asdict(config)
        | {
            "score_scale": score_scale,
            "centroid_lr": config.effective_centroid_lr,
            "score_aware": config.effective_score_aware,
            "scoring": config.effective_scoring,
            "vectors": config.effective_vectors,
        },
        "data": {name: named(path) for name, path in paths.items() if path is not None},
        "fingerprint": {name: fingerprint[name] for name in ("index", "docid", *list(paths)[1:])},
        "training_queries": len(trainer.training),
        "dev_queries": len(trainer.dev),
        "processes": trainer.accelerator.num_processes,
        "steps": trainer.step,
        "best_step": curve.best_step,
        "curve": curve.points,
    }
