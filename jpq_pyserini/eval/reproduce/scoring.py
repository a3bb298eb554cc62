"""Scores of runs, beside what was expected and what others published."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jpq_pyserini.data.topics import read_qrels
from jpq_pyserini.eval.comparison import compare
from jpq_pyserini.eval.facts import Facts, facts_path, read_facts, write_facts
from jpq_pyserini.eval.measures import DEFAULT_MEASURES
from jpq_pyserini.eval.reproduce.experiment import Experiment, Topics, substitute
from jpq_pyserini.eval.reproduce.plan import PlannedRun
from jpq_pyserini.eval.reproduce.published import Published
from jpq_pyserini.eval.reproduce.workshop import Task, Workshop
from jpq_pyserini.eval.significance import paired_t_test
from jpq_pyserini.index.record import IndexRecord, TrainingRecord
from jpq_pyserini.index.vectors import row_bytes
from jpq_pyserini.names import DOCID, INDEX, RECORD

OK, OKISH, FAIL, MEASURED = "OK", "OKish", "FAIL", "measured"
_NEAR = 0.0005  # what Pyserini calls OKish


@dataclasses.dataclass(frozen=True)
class Score:
    """One number of one run.

    Attributes:
        value: mean over the queries of the qrels.
        expected: None where nothing is.
        tolerance: that was allowed.
        mark: OK, OKish, FAIL or measured.
        against: condition that it was tested against, or None.
        p_value: of that test, or None.
        published: the same number by others, or None.
    """

    value: float
    expected: float | None
    tolerance: float
    mark: str
    against: str | None
    p_value: float | None
    published: Published | None


@dataclasses.dataclass(frozen=True)
class Scored:
    """All runs on one set of topics: run to measure to score."""

    topics: Topics
    queries: int
    scores: Mapping[str, Mapping[str, Score]]


def judge(value: float, expected: float | None, tolerance: float = 0.0) -> str:
    """Return the mark of a score, rounded to the four decimals that trec_eval prints.

    OK: within ``tolerance`` of what was expected. OKish: within twice the tolerance, or 0.0005 if that is more. FAIL:
    farther away, in either direction.
    """
    if expected is None:
        return MEASURED
    away = abs(round(value, 4) - expected)
    limits = ((OK, tolerance), (OKISH, max(2 * tolerance, _NEAR)))
    return next((mark for mark, limit in limits if away <= limit + 1e-9), FAIL)


def score(
    experiment: Experiment,
    runs: Sequence[PlannedRun],
    workshop: Workshop,
    values: Mapping[str, str],
    note: Callable[[str], None],
) -> list[Scored]:
    """Score the runs that are there, one set of topics after the other.

    Raises:
        JPQError: bad qrels, a bad run file.
    """
    by_topics: dict[str, list[PlannedRun]] = {}
    for run in runs:
        if workshop.has(run.task):
            by_topics.setdefault(run.topics.topic_key, []).append(run)
    return [_score(experiment, of_topics, workshop, values, note) for of_topics in by_topics.values()]


def _score(
    experiment: Experiment, runs: list[PlannedRun], workshop: Workshop, values: Mapping[str, str], note
) -> Scored:
    topics, key = runs[0].topics, runs[0].topics.topic_key
    files = {run.condition.name: workshop.directory / run.task.target for run in runs}
    qrels = substitute(topics.names[1], {**values, "topic_key": key})
    if (workshop.directory / qrels).is_file():
        qrels = str(workshop.directory / qrels)
    expected = {run.condition.name: experiment.expected(run.condition)[key] for run in runs}
    wanted = [*experiment.measures_of(topics), *(measure for scores in expected.values() for measure in scores)]
    comparison = compare(files, read_qrels(qrels), list(dict.fromkeys(wanted)) or DEFAULT_MEASURES, note=note)
    means, per_query = comparison.means(), comparison.values
    scores = {}
    for run in runs:
        name, tolerance = run.condition.name, experiment.tolerance_of(run.condition)
        published = experiment.published_of(run.condition, key)
        against = run.condition.against or topics.against or experiment.against
        against = against if against in files and against != name else None
        scores[name] = {
            measure: Score(
                value,
                expected[name].get(measure),
                tolerance,
                judge(value, expected[name].get(measure), tolerance),
                against,
                paired_t_test(per_query[name][measure], per_query[against][measure]) if against else None,
                published.get(measure),
            )
            for measure, value in means[name].items()
        }
    return Scored(topics, comparison.queries, scores)


def keep_facts(
    run: PlannedRun,
    workshop: Workshop,
    versions: Mapping[str, str],
    *,
    new: bool,
    documents: int | None = None,
    timing: Task | None = None,
) -> Facts:
    """Write the facts of a run beside it, unless it is not ``new`` and they are there already, and return them.

    Args:
        run: there, in the workshop.
        workshop: where it is.
        versions: library to version, kept with a new run.
        new: it was made by this process.
        documents: number of documents of the collection, where neither its index nor its topics tell it.
        timing: step whose output has times; where it has them, they are the facts' times.
    """
    path = workshop.directory / run.task.target
    old = read_facts(path)
    if new or not facts_path(path).exists():
        counted, size = documents_and_bytes(run, workshop)
        documents = counted or documents
        record = workshop.record(run.task)
        facts = Facts(
            title=run.condition.title,
            group=run.condition.group,
            documents=documents,
            vector_bytes_per_document=_vector_bytes(run, workshop),
            bytes_per_document=round(size / documents, 1) if size and documents else None,
            command=" && ".join(record.commands) if record else None,
            versions=dict(versions) if new else None,
        )
    else:
        facts = old
    if timing and workshop.has(timing):
        search, encoding = _times(run, workshop.directory / timing.target / "runs")
        facts = dataclasses.replace(facts, ms_per_query=search, encode_ms_per_query=encoding)
    if facts != old:
        write_facts(path, facts)
    return facts


def _times(run: PlannedRun, folder: Path) -> tuple[float | None, float | None]:
    """Return the measured milliseconds of search and encoding; of a run made from other runs, the sums of theirs."""
    parts = [read_facts(folder / f"{name}.txt") for name in run.condition.runs or (run.condition.name,)]
    search = [part.ms_per_query for part in parts if part.ms_per_query is not None]
    if len(search) < len(parts):
        return None, None
    return sum(search), sum(part.encode_ms_per_query or 0 for part in parts)


def trainings(runs: Sequence[PlannedRun], workshop: Workshop) -> dict[str, TrainingRecord]:
    """Return index folder to what its record says of its training, seed included, for those that runs name."""
    found = {}
    for run in runs:
        for name in _index_names(run):
            folder = workshop.directory / name
            if (folder / RECORD).is_file():
                found[name] = IndexRecord.read(folder).training
    return found


def _index_names(run: PlannedRun) -> list[str]:
    return [substitute(index, run.task.values) for index in run.condition.index]


def documents_and_bytes(run: PlannedRun, workshop: Workshop, codes_only: bool = False) -> tuple[int | None, int | None]:
    """Return N and the bytes of the run's indexes, as far as known.

    Of a Faiss folder its index file counts, of a Lucene folder everything, of a JPQ index directory, if ``codes_only``,
    the codes without what all documents share.
    """
    documents = run.topics.documents
    folders = [workshop.directory / name for name in _index_names(run)]
    if not folders or not all(folder.is_dir() for folder in folders):
        return documents, None  # prebuilt ones go by name
    for folder in folders:
        if (folder / DOCID).is_file():
            with open(folder / DOCID, "rb") as file:
                documents = sum(1 for _ in file)
    return documents, sum(_bytes_of(folder, codes_only) for folder in folders)


def _vector_bytes(run: PlannedRun, workshop: Workshop) -> int | None:
    """Return the bytes a document of the vectors on disk that the run's indexes have; None if they have none."""
    folders = [workshop.directory / name for name in _index_names(run)]
    records = [IndexRecord.read(folder) for folder in folders if (folder / RECORD).is_file()]
    return sum(row_bytes(r.vectors["dtype"], r.dimension) for r in records if r.vectors) or None


def _bytes_of(folder: Path, codes_only: bool) -> int:
    if codes_only and (folder / RECORD).is_file():
        record = IndexRecord.read(folder)
        return record.count * record.m * record.nbits // 8
    index = folder / INDEX
    files = [index] if index.is_file() else [file for file in folder.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
