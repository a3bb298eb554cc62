"""Run files in memory: TREC (``qid Q0 docid rank score tag``) and MS MARCO (``qid docid rank``), .gz too."""

import gzip
import math
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jpq_pyserini.data.lines import columns_of, is_comment, text_lines
from jpq_pyserini.errors import JPQError

_TREC = ("qid", "q0", "docid", "rank", "score", "tag")
_MSMARCO = ("qid", "docid", "rank")
_GREATEST_RANK = np.iinfo(np.int32).max
_FORMS = "a run has lines 'qid Q0 docid rank score tag' (TREC) or 'qid docid rank' (MS MARCO)"


class Run(Mapping):
    """One run: qid to {docid: score}, the inner dicts made on demand, so that ten million lines fit in memory.

    Attributes:
        name: What tables call the run.
        path: The file it came from.
    """

    def __init__(
        self,
        name: str,
        path: str,
        qids: list[str],
        starts: np.ndarray,
        docs: np.ndarray,
        scores: np.ndarray,
        ranks: np.ndarray,
    ):
        """``starts`` (Q + 1,) int64 bounds each query's part of ``docs`` (L,) object, ``scores`` (L,) float64 and
        ``ranks`` (L,) int32, the rank column, 0 where it holds no positive integer."""
        self.name, self.path = name, path
        self._spans = {qid: slice(starts[i], starts[i + 1]) for i, qid in enumerate(qids)}
        self._docs, self._scores, self._ranks = docs, scores, ranks

    def __getitem__(self, qid: str) -> dict[str, float]:
        span = self._spans[qid]
        return dict(zip(self._docs[span], self._scores[span].tolist(), strict=True))

    def at_ranks(self, qid: str, depth: int) -> list[str | None]:
        """Return the documents that the file puts at ranks 1 to ``depth``, whatever their scores; None for a gap.

        Raises:
            JPQError: a rank that is no positive integer.
        """
        span = self._spans[qid]
        ranks = self._ranks[span]
        if not ranks.all():
            docid = self._docs[span][int(np.argmin(ranks))]
            raise JPQError(
                f"the rank of document {docid!r} for query {qid!r} is no positive integer, but the official MRR of "
                "MS MARCO goes by ranks: write them from 1 on, or take RR, which goes by scores"
            )
        found: list[str | None] = [None] * depth
        for line in np.flatnonzero(ranks <= depth):
            found[ranks[line] - 1] = self._docs[span][line]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __contains__(self, qid: object) -> bool:
        return qid in self._spans


def read_run(path: str | os.PathLike, name: str | None = None) -> Run:
    """Read a run file; the first line's column count tells which format it is.

    The rank of a TREC run is kept but does not order it, as in trec_eval; an MS MARCO run gets the score 1/rank, as
    Pyserini gives it. Lines may end as on Windows. Lines that start with "#" are comments, as in today's
    trec_eval: ir_metadata's header, for one.

    Args:
        path: The file.
        name: What to call the run; the file's name without its last ending by default.

    Raises:
        JPQError: no such file, an empty file, a wrong column count, a score that is no finite number, a rank that is
            no positive integer, a document listed twice for a query, not UTF-8, a damaged .gz.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise JPQError(f"no such run file: {path}")
    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b" and not path.endswith(".gz"):
            raise JPQError(f"{path}: gzip data without the ending .gz: name it {path}.gz")
    columns = _columns_of_first_line(path)
    table = _table(path, columns)
    if columns is _TREC:
        scores = table["score"].to_numpy()
        sound = np.isfinite(scores)
        ranks = _numbers(table["rank"].cat.categories)[table["rank"].cat.codes.to_numpy()]
    else:
        ranks = table["rank"].to_numpy()
        sound = ranks > 0
        scores = 1 / np.where(sound, ranks, 1)
        ranks = np.minimum(ranks, _GREATEST_RANK).astype(np.int32)
    truncated = columns is _TREC and "" in table["tag"].cat.categories  # pandas fills a short line with nothing
    if truncated or not sound.all():
        _raise_for_bad_line(path, columns)
    return _grouped(name or run_name(path), path, table["qid"], table["docid"], scores, ranks)


def run_name(path: str | os.PathLike) -> str:
    """Return the file's name without .gz and its last ending: ``runs/bm25.txt.gz`` is ``bm25``."""
    name = Path(path).name.removesuffix(".gz")
    return Path(name).stem or name


def named_paths(
    arguments: Sequence[str],
    flag: str = "--run",
    form: str = "RUN",
    called: Callable[[str], str] = run_name,
) -> dict[str, str]:
    """Return name to path of what ``flag`` was given; a path may hold "=" if it exists as it stands.

    Args:
        arguments: words of the form ``[NAME=]path``.
        flag, form: how the command line calls them, for messages.
        called: names a path that comes without a name.

    Raises:
        JPQError: an argument is not ``[NAME=]form``, or a name comes twice.
    """
    named: dict[str, str] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = called(argument), argument
        if not name or not path or "\t" in name:
            raise JPQError(f"{flag} {argument!r}: give NAME={form}, or the path alone")
        if name in named:
            raise JPQError(
                f"two runs are called {name!r} ({named[name]} and {path}): name them with {flag} NAME={form}"
            )
        named[name] = path
    return named


def ends_abruptly(path: str | os.PathLike) -> bool:
    """Whether the last line has no end, as when a file was cut short in copying; a .gz tells that by itself."""
    path = Path(path)
    if path.name.endswith(".gz") or not path.stat().st_size:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() not in (b"\n", b"\r")


def _columns_of_first_line(path: str) -> tuple[str, ...]:
    for number, line in text_lines(path):
        if not line.strip() or is_comment(line):
            continue
        count = len(columns_of(line))
        for columns in (_TREC, _MSMARCO):
            if count == len(columns):
                return columns
        raise JPQError(f"{path}:{number}: {count} columns in {line[:60]!r}: {_FORMS}")
    raise JPQError(f"{path} is empty: {_FORMS}")


def _table(path: str, columns: tuple[str, ...]):
    """Return a data frame of the columns, ids as str; comments, which few files have, cost a second reading."""
    try:
        try:
            table = _parse(path, columns)
            commented = table["qid"].str.startswith("#").any()  # with as many words as there are columns
        except ValueError:
            commented = True
        if commented:
            comments = {number - 1 for number, line in text_lines(path) if is_comment(line)}
            table = _parse(path, columns, comments)
        return table
    except ValueError as error:  # pandas found something; it does not say in which line
        _raise_for_bad_line(path, columns)
        raise JPQError(f"{path}: {error}: {_FORMS}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise JPQError(f"{path}: damaged gzip file ({error}): fetch or write it again") from None


def _parse(path: str, columns: tuple[str, ...], skipped: Collection[int] = ()):
    import pandas as pd

    kinds = dict.fromkeys(columns, "category")  # cheap for what repeats, but it makes 7 of 007: not for ids
    kinds |= {"qid": str, "docid": str} | ({"score": "float64"} if columns is _TREC else {"rank": "int64"})
    # The same double as C's atof, which trec_eval uses: the default since pandas 3.1, which deprecates the option.
    exact = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
    return pd.read_csv(
        path,
        sep=r"\s+",
        names=columns,  # without usecols: with it, superfluous columns pass unseen
        dtype=kinds,
        index_col=False,
        header=None,
        na_filter=False,  # "NA" and "null" are ids like any other
        quoting=3,  # so is a lone quotation mark
        skiprows=sorted(skipped),
        compression="gzip" if path.endswith(".gz") else None,
        encoding="utf-8",
        **exact,
    )


def _numbers(ranks) -> np.ndarray:
    """Return what ``ranks``, strings or numbers, say; 0 for what is no positive integer."""
    numbers = [int(rank) if rank.isdecimal() and len(rank) < 10 else 0 for rank in map(str, ranks)]
    return np.array(numbers, dtype=np.int32)


def _second_line(path: str, qid: str, docid: str) -> str:
    """Return ``:number`` of the line on which a query has a document for the second time."""
    lines = ((number, columns_of(line)) for number, line in text_lines(path) if not is_comment(line))
    hits = [number for number, cells in lines if cells and cells[0] == qid and docid == cells[len(cells) // 3]]
    return f":{hits[1]}" if len(hits) > 1 else ""


def _grouped(name: str, path: str, qid_column, docid_column, scores: np.ndarray, ranks: np.ndarray) -> Run:
    query_codes, qids = qid_column.factorize()  # (L,) int64, (Q,)
    doc_codes, docids = docid_column.factorize()  # (L,) int64, (U,)
    qids, docids = qids.tolist(), docids.to_numpy(dtype=object)
    pairs = query_codes * len(docids) + doc_codes
    pairs.sort()
    repeated = pairs[1:][pairs[1:] == pairs[:-1]]
    if len(repeated):
        query, doc = divmod(int(repeated[0]), len(docids))
        raise JPQError(
            f"{path}{_second_line(path, qids[query], docids[doc])}: document {docids[doc]!r} is listed twice for query "
            f"{qids[query]!r} ({len(repeated)} repetitions in all): keep one line for each query and document"
        )
    if np.any(query_codes[1:] < query_codes[:-1]):
        order = np.argsort(query_codes, kind="stable")
        query_codes, doc_codes, scores, ranks = query_codes[order], doc_codes[order], scores[order], ranks[order]
    starts = np.searchsorted(query_codes, np.arange(len(qids) + 1))
    return Run(name, path, qids, starts, docids[doc_codes], scores, ranks)


def _raise_for_bad_line(path: str, columns: tuple[str, ...]) -> None:
    """Read the file once more, slowly, to name the line that is wrong; return if every line is right."""
    for number, line in text_lines(path):
        cells = columns_of(line)
        place = f"{path}:{number}"
        if not cells or is_comment(line):
            continue
        if len(cells) != len(columns):
            raise JPQError(f"{place}: {len(cells)} columns in {line[:60]!r}, not {len(columns)} as before: {_FORMS}")
        if columns is _TREC:
            try:
                finite = math.isfinite(float(cells[4].replace("_", "?")))  # Python alone takes 1_0
            except ValueError:
                raise JPQError(f"{place}: score {cells[4]!r} is no number: {_FORMS}") from None
            if not finite:
                raise JPQError(
                    f"{place}: score {cells[4]!r} of document {cells[2]!r} is not finite: make the run again"
                )
        elif not (cells[2].isdecimal() and int(cells[2]) > 0):
            raise JPQError(f"{place}: rank {cells[2]!r} is no positive integer: {_FORMS}")
