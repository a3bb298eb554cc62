"""What a checker finds in a run file: kinds of trouble, counted, with the first places, and which repairs mend them."""

import dataclasses
from collections.abc import Iterator

_PLACES = 5


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of trouble.

    Attributes:
        says: the plural noun that a count precedes.
        repairs: any of these mends it.
        done: what the repair does.
        grave: nothing is written while it is there; TREC's checkers pass the others.
    """

    says: str
    repairs: tuple[str, ...] = ()
    done: str = ""
    grave: bool = True


KINDS = {
    "truncated": Kind("last line that breaks off: the file is truncated, copy or make it again"),
    "columns": Kind("lines without exactly six columns (qid Q0 docid rank score tag)"),
    "utf8": Kind("lines that are not UTF-8"),
    "scores": Kind("scores that are no finite number in single precision, which trec_eval reads"),
    "line-ends": Kind("lines with a Windows end or a byte order mark", ("line-ends",), "plain line ends"),
    "msmarco": Kind("lines of three columns, as MS MARCO has them", ("msmarco",), "made six, score 1 / rank"),
    "comments": Kind("comment lines (# …)", ("comments",), "left out"),
    "q0": Kind("lines whose second column is not Q0", ("q0",), "written as Q0"),
    "topics": Kind("lines of queries that are not among the topics", ("topics",), "left out"),
    "missing": Kind("topics without a result", ("missing",), "the dummy document listed for each"),
    "corpus": Kind("lines with a docid that is not in the corpus", ("corpus",), "left out, ranks closed up"),
    "duplicates": Kind(
        "lines with a docid that its query has already", ("duplicates",), "the best-scored one kept, ranks closed up"
    ),
    "depth": Kind("lines beyond --depth", ("depth",), "left out"),
    "scattered": Kind("queries whose lines are not together", ("order",), "brought together"),
    "ranks": Kind("ranks that are no whole numbers", ("ranks",), "computed again from the scores, best first"),
    "contrary": Kind(
        "lines with a greater score than the line ranked above", ("ranks", "scores"), "made to agree, best first"
    ),
    "lines": Kind("queries whose lines are not in the order of their ranks", ("order",), "put in order", grave=False),
    "steps": Kind(
        "queries whose ranks do not go up by one from 0 or 1", ("ranks",), "numbered from 1, best first", grave=False
    ),
    "ties": Kind(
        "equal scores (in single precision) that trec_eval, which goes by descending docid, orders otherwise than the "
        "ranks",
        ("ties",),
        "lowered by the least possible",
        grave=False,
    ),
    "tags": Kind("tags other than the first line's", grave=False),
    "blank": Kind("blank lines, which are left out", grave=False),
}


@dataclasses.dataclass
class _Found:
    count: int = 0
    places: list[int] = dataclasses.field(default_factory=list)
    detail: str = ""


class Findings:
    """Counts by kind, of what was found and, separately, of what the chosen repairs have mended.

    Attributes:
        rising: queries whose scores only rise with the rank.
    """

    def __init__(self, repairs: frozenset[str]):
        self.repairs = repairs
        self.rising = 0
        self._found: dict[str, _Found] = {}

    def add(self, kind: str, line: int | None, detail: str = "", count: int = 1) -> bool:
        """Note ``count`` findings from ``line`` on; return whether a chosen repair mends them."""
        found = self._found.setdefault(kind, _Found())
        if not found.count:
            found.detail = "".join(each if each.isprintable() else "?" for each in detail)
        found.count += count
        if line is not None and len(found.places) < _PLACES:
            found.places.append(line)
        return self.mends(kind)

    def mends(self, kind: str) -> bool:
        """Return whether a chosen repair mends this kind."""
        return not self.repairs.isdisjoint(KINDS[kind].repairs)

    @property
    def grave(self) -> bool:
        """Whether anything stands in the way of writing the run."""
        return any(KINDS[kind].grave and not self.mends(kind) for kind in self._found)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield (``error``, ``warning`` or ``repaired``; one line about it) for each kind found, the gravest first."""
        for kind, meaning in KINDS.items():
            if (found := self._found.get(kind)) is None:
                continue
            text = f"{found.count:,} {meaning.says}"
            if found.places:
                more = ", …" if found.count > len(found.places) else ""
                text += f"; line{'s' * (len(found.places) > 1)} {', '.join(map(str, found.places))}{more}"
            text += f": {found.detail}" if found.detail else ""
            if self.mends(kind):
                yield "repaired", f"{text}; {meaning.done}"
            else:
                remedy = " or ".join(f"--repair {name}" for name in meaning.repairs)
                yield "error" if meaning.grave else "warning", text + (f" ({remedy})" if remedy else "")


def shown(raw: bytes) -> str:
    """Return bytes as a short quotation."""
    text = raw.rstrip(b"\r\n").decode("utf-8", errors="replace")
    return repr(text if len(text) <= 60 else text[:57] + "...")
