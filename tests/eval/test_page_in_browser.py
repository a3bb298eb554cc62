"""The HTML report's ``page.js`` in a real browser: what it builds, sorts, filters and unfolds."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from jpq_pyserini.eval.comparison import Comparison, hits_of
from jpq_pyserini.eval.report import as_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: install one to run page.js"),
]

#: q3 is lost, q0 and q7 are tied, all others are won by as much as their number says.
GAINS = {f"q{i}": {3: -0.5, 7: 0.0}.get(i, i / 100) for i in range(60)}

#: Clicks and types as a reader does, and notes what the page then shows.
_READER = """
const rows = () => [...document.querySelectorAll("#queries > tbody > tr")].map((row) => row.cells[0].textContent);
const shown = () => ({ rows: rows(), counts: document.getElementById("counts").textContent });
const sortBy = (title) => [...document.querySelectorAll("#queries thead button")]
  .find((button) => button.textContent === title).click();
const form = document.getElementById("choice");
const put = (name, value) => {
  form.elements[name].value = value;
  form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
};
const seen = { start: shown() };
document.getElementById("after").click();
seen.secondPage = shown();
put("show", "lost"); seen.lost = shown();
put("show", "all"); put("words", "FIFTY"); seen.words = shown();
put("words", ""); sortBy("query"); seen.byQuery = shown();
sortBy("query"); seen.byQueryDown = shown();
document.querySelector("#queries tbody button").click();
seen.unfolded = document.querySelector("#queries td table").textContent;
const column = document.querySelectorAll("table.sortable thead button")[1];
const runs = () => [...document.querySelector("table.sortable").tBodies[0].rows].map((row) => row.cells[0].textContent);
column.click(); seen.down = runs(); column.click(); seen.up = runs();
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result);
"""


@pytest.fixture(scope="module")
def report() -> str:
    """The page of two runs, with texts and hits."""
    base = {"RR@10": dict.fromkeys(GAINS, 0.5)}
    ours = {"RR@10": {qid: 0.5 + gain for qid, gain in GAINS.items()}}
    topics = {qid: "number fifty" if qid == "q50" else f"text of {qid}" for qid in GAINS}
    qrels = {qid: {"d1": 1} for qid in GAINS}
    hits = {name: hits_of({qid: {"d0": 2.0, "d1": 1.0} for qid in GAINS}, qrels) for name in ("ours", "base")}
    return as_html(Comparison({"ours": ours, "base": base}, "base", topics=topics, hits=hits))


def opened(page: str, tmp_path) -> str:
    """Return the document as it stands after the page's scripts have run."""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    alone = ["--no-sandbox", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [BROWSER, "--headless", *quiet, *alone, "--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_page_as_it_is(report, tmp_path):
    """With its own security policy, which must let page.js run."""
    assert "Content-Security-Policy" in report
    document = opened(report, tmp_path)
    assert re.search(r'<p id="counts"[^>]*>57 won, 2 tied, 1 lost</p>', document)
    assert "1 to 50 of 60" in document


def test_what_a_reader_does(report, tmp_path):
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report)
    page = page.replace("</body>", f"<script>{_READER}</script></body>")
    document = opened(page, tmp_path)
    seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL).group(1)))

    by_gain = sorted(GAINS, key=lambda qid: -GAINS[qid])  # stable, as the page's sorting is
    by_number = sorted(GAINS, key=lambda qid: int(qid[1:]))
    assert seen["start"] == {"rows": by_gain[:50], "counts": "57 won, 2 tied, 1 lost"}
    assert seen["secondPage"]["rows"] == by_gain[50:]
    assert seen["lost"] == {"rows": ["q3"], "counts": "57 won, 2 tied, 1 lost; 1 of 60 listed"}
    assert seen["words"]["rows"] == ["q50"]
    assert seen["byQuery"]["rows"] == by_number[:50]  # q2 before q10
    assert seen["byQueryDown"]["rows"] == by_number[::-1][:50]
    assert "d0" in seen["unfolded"]  # the first hit
    assert seen["unfolded"].count("0.5000") == 1  # the other run's; ours of q59 is 1.09
    assert (seen["down"], seen["up"]) == (["ours", "base"], ["base", "ours"])
