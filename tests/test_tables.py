"""Tables for a terminal and in Markdown."""

import html
import re

import pytest

from jpq_pyserini.tables import as_markdown, as_text, escaped

ROWS = [("run", "RR@10", "by"), ("bm25 tuned", "0.1874", "a"), ("", "1", "")]


def test_text_is_aligned():
    assert as_text(ROWS, "lrl").split("\n") == [
        "run          RR@10  by",
        "bm25 tuned  0.1874  a",
        "                 1",
    ]
    assert as_text([("a", "bb"), ("ccc", "d")], "r") == "  a  bb\nccc   d"
    assert as_text([]) == ""


def test_markdown_has_a_rule_below_the_heads():
    assert as_markdown(ROWS, "lrl").split("\n") == [
        "| run | RR@10 | by |",
        "| --- | ---: | --- |",
        "| bm25 tuned | 0.1874 | a |",
        "|  | 1 |  |",
    ]
    assert as_markdown([("a", "b", "c")]).split("\n")[1] == "| --- | ---: | ---: |"


def test_no_cell_is_read_as_markdown():
    """A parser of GitHub's Markdown gives the texts back."""
    markdown_it = pytest.importorskip("markdown_it")
    names = ["a|b", "*x* _y_", "`c`", "<b>bold</b>", "&lt;", "[l](u)", "~~s~~", "back\\slash", "two\nlines", "a < b"]
    page = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(
        as_markdown([("name",), *((escaped(name),) for name in names)])
    )
    cells = re.findall("<td[^>]*>(.*?)</td>", page)
    assert [html.unescape(cell) for cell in cells] == [" ".join(name.split()) for name in names]
