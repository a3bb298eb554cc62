"""What a race measured: its points, and the one of each system that tables show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jpq_pyserini.timing import Timing


def mode_name(batch: int, threads: int) -> str:
    """Return what results call times of batches of one size with so many threads."""
    return f"batch {batch}, threads {threads}"


ONE_BY_ONE = mode_name(1, 1)
#: As :data:`ONE_BY_ONE`, with none of the vectors of a second stage in the page cache.
COLD = f"{ONE_BY_ONE}, cold"


def name_of(system: str, candidates: int) -> str:
    """Return what the command line calls a system, with or without a second stage."""
    return f"{system}-rescored" if candidates else system


@dataclass(frozen=True)
class Point:
    """One system at one value of its setting.

    Attributes:
        name: what the command line calls the system.
        title, group: what tables call it, and what points of one kind share in plots.
        setting, value: say ``nprobe 4`` and 4; "" and None for a system without a setting.
        documents: N.
        bytes_per_document: of its index, docids and texts left out.
        memory_bytes: that its process took more with the index and while searching than before.
        build_seconds: from embeddings or an index directory to the first search.
        encode_ms: milliseconds of encoding one query; None for random ones.
        run: name of its run file; None when none is written.
        effectiveness: measure to mean; empty without qrels.
        times: mode to what a query takes in it.
        training_vectors: embeddings that building learns from; of an index directory those that OPQ learnt from.
        training_queries: queries that an index directory was trained on.
        rescored: documents of a query that are scored again with their vectors; 0 for a search in one stage.
        disk_bytes_per_document: of these vectors, which are read from disk.
        chosen: whether this is the setting that a table of systems shows.
    """

    name: str
    title: str
    group: str
    setting: str
    value: int | None
    documents: int
    bytes_per_document: float
    memory_bytes: int
    build_seconds: float
    encode_ms: float | None
    run: str | None
    effectiveness: dict[str, float]
    times: dict[str, Timing]
    training_vectors: int = 0
    training_queries: int = 0
    rescored: int = 0
    disk_bytes_per_document: float = 0
    chosen: bool = True

    @property
    def shown(self) -> str:
        """What tables call it: the system, and its setting if it has one."""
        return ", ".join(filter(None, [self.title, self.setting]))

    @property
    def milliseconds(self) -> float:
        """Median time of one query, alone, on one thread."""
        return self.times[ONE_BY_ONE].median_ms

    @property
    def quality(self) -> float:
        """The first measure; 0 without qrels."""
        return next(iter(self.effectiveness.values()), 0.0)


@dataclass(frozen=True)
class Race:
    """Systems compared on one collection.

    Attributes:
        collection: what it is called.
        documents, dimension: N, D.
        points: what was measured.
        left_out: title of a system to the reason why it did not take part.
    """

    collection: str
    documents: int
    dimension: int
    points: Sequence[Point]
    left_out: dict[str, str]

    @property
    def chosen(self) -> list[Point]:
        """The points that a table of systems shows."""
        return [point for point in self.points if point.chosen]

    @property
    def measures(self) -> list[str]:
        """Names of the measures of its points; none without qrels."""
        return list(self.points[0].effectiveness) if self.points else []


def grouped(points: Iterable[Point], by: str) -> dict[str, list[Point]]:
    """Return the points by an attribute of theirs, in their order."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(getattr(point, by), []).append(point)
    return groups


def choose(points: Sequence[Point], tolerance: float, as_fast_as: str | None = None) -> list[Point]:
    """Return the points with ``chosen`` set: true for one setting of each system.

    Args:
        points: of a race; those with the same name are settings of one system.
        tolerance: the fastest setting is chosen whose first measure is within this fraction of the system's best.
        as_fast_as: name of a system: choose the most effective setting that is at least as fast as that system's
            fastest, or the fastest when none is. So the paper's table 1 compares non-exhaustive systems.
    """
    systems = grouped(points, "name")
    limit = min((point.milliseconds for point in systems.get(str(as_fast_as), ())), default=None)
    chosen = []
    for settings in systems.values():
        fastest = min(settings, key=lambda point: point.milliseconds)
        if limit is None:
            best = max(point.quality for point in settings)
            good = [point for point in settings if point.quality >= (1 - tolerance) * best]
            chosen.append(min(good, key=lambda point: point.milliseconds))
        else:
            fast = [point for point in settings if point.milliseconds <= limit]
            chosen.append(max(fast, key=lambda point: point.quality, default=fastest))
    return [replace(point, chosen=any(point is each for each in chosen)) for point in points]
