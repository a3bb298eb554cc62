"""From a flat folder, an encoder and queries to an index directory."""

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from jpq_pyserini.cli import note
from jpq_pyserini.codec.opq import check_sizes
from jpq_pyserini.data.docids import RowsByDocid
from jpq_pyserini.data.embeddings import DocidSource, Source, as_source, open_embeddings
from jpq_pyserini.data.flat import Embeddings
from jpq_pyserini.encoders import backends
from jpq_pyserini.encoders.text_encoder import load_text_encoder, save_text_encoder
from jpq_pyserini.errors import JPQError
from jpq_pyserini.index import JPQIndex, save_flat_index
from jpq_pyserini.index.attached import ArrayVectors, Vectors
from jpq_pyserini.index.coding import code_flat
from jpq_pyserini.index.record import TrainingRecord
from jpq_pyserini.index.vectors import StoredVectors
from jpq_pyserini.json_text import read_json
from jpq_pyserini.resume import WorkFolder
from jpq_pyserini.storage import locked, new_directory, refuse_existing
from jpq_pyserini.train import initialise
from jpq_pyserini.train.checkpoint import CheckpointDirectory
from jpq_pyserini.train.config import NORMALISED_SCORE_SCALE, TrainConfig
from jpq_pyserini.train.inputs import (
    EncoderSource,
    QueryFiles,
    Run,
    check_tracker,
    hold_out,
    is_normalised,
    uses_bf16,
    wants_cpu,
)
from jpq_pyserini.train.model import JPQModel
from jpq_pyserini.train.negatives import make_negatives
from jpq_pyserini.train.optimizer import DivergenceError
from jpq_pyserini.train.report import TrainReport, training_record
from jpq_pyserini.train.run_negatives import negatives_of_run
from jpq_pyserini.train.search import RescoredSearch, flat_search, index_search
from jpq_pyserini.train.start_check import warn_of_cut, warn_of_misfits
from jpq_pyserini.train.step import TrainingStep
from jpq_pyserini.train.stopwatch import Stopwatch
from jpq_pyserini.train.student import distillation_queries, imitate
from jpq_pyserini.train.trainer import Trainer, total_steps

logger = logging.getLogger(__name__)

_WAIT = timedelta(days=7)  # the other processes wait while the first learns OPQ and codes all documents


def train_index(
    embeddings: Source,
    encoder: Any,
    output: str | os.PathLike,
    topics: str | os.PathLike | Mapping[str, str] | None = None,
    qrels: str | os.PathLike | Mapping[str, Mapping[str, int]] | None = None,
    dev_topics: str | os.PathLike | Mapping[str, str] | None = None,
    dev_qrels: str | os.PathLike | Mapping[str, Mapping[str, int]] | None = None,
    config: TrainConfig | None = None,
    resume: bool = False,
    progress: bool = True,
    negatives_run: str | os.PathLike | None = None,
    docids: DocidSource = None,
) -> TrainReport:
    """Train a JPQ index and write its directory.

    While it runs, ``OUTPUT.checkpoint`` keeps what a stopped run needs to go on.

    Args:
        embeddings: flat Faiss folder, as ``python -m pyserini.encode … output --to-faiss`` writes it; another form, or
            several parts, as :func:`jpq_pyserini.data.embeddings.open_embeddings` takes them; or an array (N, D).
        encoder: the query encoder to start from, the one that goes with ``embeddings``: an :class:`EncoderSource`, a
            name or folder, or a loaded ``SentenceTransformer``, which stays as it is.
        output: index directory to write; must not exist. It appears whole or not at all.
        topics, qrels: training queries and judgements, Pyserini names or files, or dictionaries: qid to text, qid to
            docid to relevance; needed unless ``config.epochs`` is 0.
        dev_topics, dev_qrels: queries to choose the best step by.
        config: the settings.
        resume: continue from the checkpoint of a stopped run, if there is one; the result is the same as if it had not
            been stopped.
        progress: show progress bars.
        negatives_run: run of the training queries, TREC or MS MARCO format; with ``config.negatives_from`` "run" its
            best irrelevant documents are the negatives, and queries without any are left out.
        docids: of an array, N strings; of files without docids, the file with one a line.

    Raises:
        JPQError: anything wrong with the input; see the message.
        KeyboardInterrupt: Ctrl-C; a checkpoint is there.
    """
    source = encoder if isinstance(encoder, EncoderSource) else EncoderSource(encoder)
    files = QueryFiles(topics, qrels), QueryFiles(dev_topics, dev_qrels)
    if docids is not None and not isinstance(docids, str | os.PathLike):
        docids = list(docids)
    run = Run(as_source(embeddings), source, output, *files, config or TrainConfig(), negatives_run, docids)
    refuse_existing(output)
    with locked(output) if os.environ.get("RANK", "0") == "0" else nullcontext():  # one of its processes holds it
        return _train(run, resume, progress)


def _train(run: Run, resume: bool, progress: bool) -> TrainReport:
    watch, config = Stopwatch(), run.config
    with watch.phase("load"):
        refuse_existing(run.output)
        check_tracker(config.log_with)
        flat = open_embeddings(run.embeddings, run.docids)
        if config.effective_vectors == "flat":
            _ = flat.folder  # refuses now what could not be referred to hours later
        if config.compress:
            check_sizes(len(flat.docids), flat.embeddings.shape[1], config.m, config.nbits)
        rows = RowsByDocid(flat.docids, place=str(flat.path / "docid"))
        training = run.training.read(rows, needed=config.epochs > 0, labels=config.labels_needed)
        dev = run.dev.read(rows, flag="dev-", needed=False, labels=True)
        held_out = not dev and config.epochs > 0
        if held_out:
            training, dev = hold_out(training, config.held_out, config.seed)
        table = None
        if config.negatives_from == "run" and run.negatives_run is not None and training:
            training, table = negatives_of_run(run.negatives_run, training, rows, config.negatives, progress)
        del rows
        accelerator = Accelerator(
            cpu=wants_cpu(config),
            log_with=config.log_with,
            project_dir=f"{run.output}.log",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_WAIT)],
        )
        if config.log_with:
            accelerator.init_trackers("jpq", config=asdict(config))
        scale = config.score_scale or (NORMALISED_SCORE_SCALE if is_normalised(flat) else 1.0)
        steps = total_steps(config, len(training))
        checkpoints = _checkpoints(run, resume, accelerator) if steps else None
        progress = progress and accelerator.is_main_process
        if held_out and dev and progress:
            note(f"no dev queries: {len(dev):,} training queries are held out, to select the best step (--held-out)")
        if not run.encoder.is_student:
            encoder = run.encoder.load(flat, config.max_query_length, str(accelerator.device))
    imitation = None
    if run.encoder.is_student:
        with watch.phase("imitate"):
            encoder, imitation = _student(run, flat, training, checkpoints, accelerator, scale, progress)
    if accelerator.is_main_process:
        warn_of_cut(encoder, training, dev, config.max_query_length)
        warn_of_misfits(encoder, flat, training or dev)
    codec, codes = _start(flat, config, checkpoints, accelerator, progress, watch) if config.compress else (None, None)
    with watch.phase("load"):
        bf16 = uses_bf16(config.precision, accelerator.device)
        model = JPQModel(encoder, codec, codes, flat.embeddings, bf16).to(accelerator.device)
        search = index_search(model, flat)
        negatives = make_negatives(config, model, flat, search, training, table)
        step = TrainingStep(model, negatives, training, config, scale, steps, watch)
        final = RescoredSearch(search, model, config.rescore) if config.rescore else search
    beside = flat_search(model, flat) if config.compress and dev else None
    trainer = Trainer(step, final, dev, accelerator, checkpoints, progress, beside)
    try:
        trainer.run()
    except DivergenceError:  # and would again from the checkpoint
        if checkpoints is not None and accelerator.is_main_process:
            checkpoints.remove()
        raise

    report = TrainReport.of(run.output, flat, codec, trainer)
    record = training_record(run, trainer, scale) | ({"query_encoder": imitation} if imitation else {})
    del trainer, step, search, final, negatives  # with the searched copy of the codes: writing needs one of its own
    with watch.phase("write"):
        if accelerator.is_main_process:
            _write(run, flat, codec, codes, model, record, progress, watch)
            if checkpoints is not None:
                checkpoints.remove()
        accelerator.wait_for_everyone()
        accelerator.end_training()
    return dataclasses.replace(report, seconds=watch.total, phases=watch.seconds)


def _checkpoints(run: Run, resume: bool, accelerator: Accelerator) -> CheckpointDirectory:
    path = Path(f"{os.fspath(run.output).rstrip(os.sep)}.checkpoint")
    if accelerator.is_main_process:  # the others may look after it has begun to write
        return CheckpointDirectory(path, WorkFolder(path, run.fingerprint(), resume))
    return CheckpointDirectory(path)


def _student(run: Run, flat: Embeddings, training, checkpoints, accelerator: Accelerator, scale: float, progress: bool):
    """Return the smaller query encoder that has learnt to imitate, and what is recorded of that.

    With a checkpoint folder the main process makes it, and all read it there.
    """
    source, config, device = run.encoder, run.config, accelerator.device

    def make():
        texts = [query.text for query in training] + distillation_queries(source.distil_queries)
        student, teacher, fit = source.make_student(flat, config.max_query_length, str(device))
        how = {"scale": scale, "fit": fit, "bf16": uses_bf16(config.precision, device), "seed": config.seed}
        texts = list(dict.fromkeys(texts))
        learnt = imitate(student, teacher, flat, texts, source.student, progress=progress, **how)
        names = {"start": source.query_encoder, "teacher": source.student.teacher or source.name}
        return student, {**names, "layers": source.student.query_layers, **learnt}

    if checkpoints is None:
        return make()
    folder = checkpoints.path / "query_encoder"
    if accelerator.is_main_process and not folder.is_dir():
        checkpoints.claim()
        student, record = make()
        with new_directory(folder) as partial:
            save_text_encoder(student, partial)
            (partial / "imitation.json").write_text(json.dumps(record), encoding="utf-8")
    accelerator.wait_for_everyone()
    record = read_json(folder / "imitation.json", "remove the folder and start again")
    return load_text_encoder(str(folder), device=str(device)), record


def _start(flat, config, checkpoints, accelerator, progress, watch):
    """Return codec and codes: from the checkpoint, else made by the main process and read by the others."""
    if checkpoints is None:
        return initialise.initialise(flat, config, str(accelerator.device), progress, watch.phase)
    folder = checkpoints.path / "start"
    if accelerator.is_main_process and not folder.is_dir():
        checkpoints.claim()
        kept = checkpoints.path / "coding"
        try:
            start = initialise.initialise(flat, config, str(accelerator.device), progress, watch.phase, kept)
        except JPQError:  # the embeddings are bad: nothing is worth keeping
            checkpoints.remove()
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt("before the first step; continue with the same command and --resume") from None
        initialise.save_start(folder, *start)
        shutil.rmtree(kept, ignore_errors=True)
    with watch.phase("load"):
        accelerator.wait_for_everyone()
        return initialise.load_start(folder, len(flat.docids))


def _write(run: Run, flat: Embeddings, codec, codes, model: JPQModel, record: dict, progress: bool, watch) -> None:
    def write_encoder(folder: Path) -> None:
        save_text_encoder(model.encoder, folder)
        why = backends.export_checked(model.encoder, folder) if run.config.onnx else None
        if why is not None:
            logger.warning("CPUs will run the query encoder with torch, since it cannot be exported to ONNX: %s", why)
        # The last file before the record, which then lacks only the time of its own writing.
        record["seconds"] = {phase: round(seconds, 1) for phase, seconds in watch.so_far().items()}

    if codec is None:
        save_flat_index(flat, run.output, write_encoder, encoder=run.encoder.document_record(flat), training=record)
        return
    assert model.centroids is not None
    trained = codec.with_centroids(model.centroids.detach().cpu().numpy())
    if run.config.reconstruction:  # DPQ: its codes follow its centroids
        trained = dataclasses.replace(trained, assignment_centroids=trained.centroids)
        codes = code_flat(flat, trained, progress)
    kept, encoder = _kept_vectors(flat, run.config), run.encoder.document_record(flat)
    index = JPQIndex(trained, codes, flat.docids, vectors=kept, encoder=encoder, training=cast(TrainingRecord, record))
    index.save(run.output, write_encoder)


def _kept_vectors(flat: Embeddings, config: TrainConfig) -> Vectors | None:
    """Return what ``--vectors`` stores with the index."""
    kept = config.effective_vectors
    if kept == "none":
        return None
    return StoredVectors.of_flat(flat.folder) if kept == "flat" else ArrayVectors(flat.embeddings, kept)
