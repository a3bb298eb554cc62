"""The forms of a comparison: what they escape, and the parts of the HTML page."""

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import pytest

from jpq_pyserini.eval.comparison import Comparison, Hits, hits_of
from jpq_pyserini.eval.facts import Facts
from jpq_pyserini.eval.report import as_html, as_json, as_latex, as_markdown, as_text, gains_of

NASTY = "</script><script>alert('1')</script> & $x^2$ a_b 100% | *b* \\"
QUERIES = [f"q{i}" for i in range(30)]


def _comparison(name: str = "JPQ", **more) -> Comparison:
    """Two runs; against ``base`` the other wins q0 to q9 and loses q10 to q13."""
    base = dict.fromkeys(QUERIES, 0.5)
    other = base | {f"q{i}": 1.0 for i in range(10)} | {f"q{i}": 0.25 for i in range(10, 14)}
    return Comparison({name: {"RR@10": other, "R@100": other}, "base": {"RR@10": base, "R@100": base}}, "base", **more)


class _Page(HTMLParser):
    """Keeps every tag, the texts of table cells, and the contents of scripts; checks that tags close in their order."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.cells, self.scripts, self.text = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if "script" in self.open:
            self.scripts[-1] += data
        else:
            self.text.append(data)


@pytest.fixture
def page():
    """The page of a comparison in which everything that can hold foreign text holds markup."""
    facts = {NASTY: Facts(group=NASTY, bytes_per_document=10, ms_per_query=1), "base": Facts(bytes_per_document=99)}
    hits = {NASTY: {"q0": Hits(NASTY, 3)}, "base": {"q0": Hits("d1", None)}}
    more = {"facts": facts, "topics": {"q0": NASTY, "q10": NASTY}, "hits": hits, "gains": {NASTY: 3}}
    return as_html(_comparison(NASTY, **more), qrels=NASTY, files={NASTY: NASTY})


def test_page_is_well_formed_and_escapes_what_is_foreign(page):
    parsed = _Page(page)
    assert parsed.open == []
    assert [attrs for tag, attrs in parsed.tags if tag == "script"] == [{"type": "application/json", "id": "data"}, {}]
    assert NASTY in parsed.cells
    assert NASTY in "".join(parsed.text)
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_page_needs_nothing_else(page):
    parsed = _Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"link", "img", "iframe", "object", "embed", "base"}
    addresses = [attrs[name] for _, attrs in parsed.tags for name in ("src", "href", "xlink:href") if name in attrs]
    assert addresses  # markers of the plots
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    policy = next(attrs["content"] for tag, attrs in parsed.tags if attrs.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_data_of_the_view_is_what_was_scored(page):
    data = json.loads(_Page(page).scripts[0])
    assert (data["runs"], data["measures"], data["qids"]) == ([NASTY, "base"], ["RR@10", "R@100"], QUERIES)
    assert (data["run"], data["against"]) == (0, 1)
    assert data["texts"][0] == data["texts"][10] == NASTY
    assert data["values"][0][0] == [1] * 10 + [0.25] * 4 + [0.5] * 16
    assert data["hits"][0][:2] == [[NASTY, 3], None]


@pytest.mark.slow
def test_plots_of_the_page(page):
    parsed = _Page(page)
    figures = [attrs["aria-label"] for tag, attrs in parsed.tags if tag == "figure"]
    assert figures == [
        "RR@10 against bytes a document",
        "RR@10: difference to base on each query, ordered for each run by itself",
    ]
    assert sum(tag == "svg" for tag, _ in parsed.tags) == 2
    assert "currentColor" in page
    assert as_html(_comparison()) == as_html(_comparison())  # the same data, the same file


def test_page_without_plots(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "No plots: matplotlib is not installed (pip install matplotlib)" in as_html(_comparison())


def test_page_of_one_run():
    alone = Comparison({"run": {"RR@10": {"q": 1.0}}})
    parsed = _Page(as_html(alone))
    assert "figure" not in {tag for tag, _ in parsed.tags}
    assert json.loads(parsed.scripts[0])["against"] is None


def test_latex_escapes_names_and_raises_marks():
    text = as_latex(_comparison("50% [a]_b ^~ \\x{} #1 & $ é"))
    row = next(line for line in text.splitlines() if line.startswith("50"))
    assert row.startswith(r"50\% {[}a]\_b \textasciicircum{}\textasciitilde{} \textbackslash{}x\{\} \#1 \& \$ é & ")
    assert row.endswith(r" & \textbf{0.6333}\rlap{$^{*}$} & \textbf{0.6333}\rlap{$^{*}$} \\")
    assert r"\begin{tabular}{lrr}" in text
    assert all(line.startswith("%") for line in text.split("\\end{tabular}\n")[1].splitlines())
    assert "% $^{*}$ $p<$ 0.05, $^{**}$ $p<$ 0.01 against base (two-tailed paired t-test)" in text


def test_markdown_keeps_names_and_texts_as_they_are():
    text = as_markdown(_comparison(NASTY, topics={"q0": NASTY}, gains={NASTY: 1}))
    shown = r"&lt;/script>&lt;script>alert('1')&lt;/script> & \$x^2\$ a\_b 100% \| \*b\* \\"
    assert text.splitlines()[2].startswith(f"| {shown} | **0.6333**\\* |")
    assert f"| {shown} |\n" in text.split("Most won")[1]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert columns == {4, 9}


def test_gains_put_those_first_that_the_loser_misses_most():
    hits = {"JPQ": {"q11": Hits("d", 7), "q12": Hits("d", None)}, "base": {"q0": Hits("d", 2), "q1": Hits("d", 90)}}
    gains = gains_of(
        _comparison(hits=hits | {"base": {q: Hits("d", 2) for q in QUERIES} | hits["base"]}, gains={"JPQ": 4})
    )
    assert (gains[0].wins, gains[0].ties, gains[0].losses) == (10, 16, 4)
    assert [change.qid for change in gains[0].won] == ["q1", "q0", "q2", "q3"]
    assert [change.qid for change in gains[0].lost] == ["q10", "q12", "q13", "q11"]
    assert [change.difference for change in gains[0].lost] == [-0.25] * 4


def test_hits_are_ranked_as_trec_eval_ranks():
    run = {"q1": {"a": 1.0, "b": 1.0, "c": 0.5}, "q2": {"a": 1.0}, "empty": {}, "unjudged": {"a": 1.0}}
    qrels = {"q1": {"a": 1, "b": 0, "c": 2}, "q2": {"b": 1}, "empty": {"a": 1}, "absent": {"a": 1}}
    assert hits_of(run, qrels) == {"q1": Hits("b", 2), "q2": Hits("a", None), "empty": Hits(None, None)}


def test_counts_are_summed_and_shown_without_decimals():
    counted = Comparison({"run": {"NumRet": {"q": 3.0, "r": 4.0}}})
    assert as_text(counted).splitlines()[1] == "run       7"
    assert json.loads(as_json(counted))["runs"] == [{"name": "run", "means": {"NumRet": 7.0}}]


def test_ids_with_leading_zeros_find_their_texts():
    comparison = Comparison({"run": {"RR": {"007": 1.0}}}, topics={"7": "seven"})
    assert (comparison.text_of("007"), comparison.text_of("q")) == ("seven", "")
