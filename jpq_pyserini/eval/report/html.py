"""The comparison as one HTML page that needs nothing else: no server, no network, no other file."""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files

from jpq_pyserini.eval.comparison import Comparison
from jpq_pyserini.eval.measures import parse_measure
from jpq_pyserini.eval.report.gains import Change, Gains, gains_of
from jpq_pyserini.eval.report.plots import plots
from jpq_pyserini.eval.report.table import Cell, gains_rows, gains_title, legend, table

_NUMBERS = frozenset(range(1, 5))  # columns of a table of gains that hold numbers


def as_html(comparison: Comparison, **facts) -> str:
    """Return the page: the table, the plots, the gains that are asked for, and a view of every query.

    Without JavaScript all but the sorting and the view of every query is there. ``facts`` are named at the end.
    """
    title = f"{', '.join(comparison.values)}: {comparison.queries} queries"
    script, style = _asset("page.js"), _asset("page.css")
    # Whatever a run's name or a query's text holds, only this very script may run, and nothing may be fetched.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_sha256(script)}'"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>Comparison of {_count(len(comparison.values), 'run')}</h1>",
        _section("Effectiveness", _main_table(comparison)),
        *([_section("Plots", _figures(comparison))] if len(comparison.values) > 1 else []),
        *(_gains_section(gains) for gains in gains_of(comparison)),
        _section("Every query", _view(comparison)),
        _section("Made from", _origin(facts)) if facts else "",
        "</main>",
        f'<script type="application/json" id="data">{_json(_data(comparison))}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _main_table(comparison: Comparison) -> str:
    head, body = table(comparison)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0].text)}</th>{"".join(map(_cell, row[1:]))}</tr>\n' for row in body
    )
    under = "".join(f"<p>{escape(line)}.</p>" for line in legend(comparison, "bold: best"))
    return _table(heads, rows, "sortable") + f'<div class="legend">{under}</div>'


def _cell(cell: Cell) -> str:
    shown = f"<strong>{escape(cell.text)}</strong>" if cell.best else escape(cell.text)
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    return f'<td class="number"{value}>{shown}<sup>{escape(cell.marks)}</sup></td>'


def _figures(comparison: Comparison) -> str:
    try:
        drawn = plots(comparison)
    except ImportError:
        return "<p>No plots: matplotlib is not installed (pip install matplotlib).</p>"
    if not drawn:
        return ""
    return '<div class="figures">' + "\n".join(
        f'<figure role="img" aria-label="{escape(caption)}">{svg}<figcaption>{escape(caption)}</figcaption></figure>'
        for caption, svg in drawn
    ) + "</div>"  # fmt: skip


def _gains_section(gains: Gains) -> str:
    parts = [
        f"<h3>{heading}</h3>{_gains_table(gains, changes)}"
        for heading, changes in (("Most won", gains.won), ("Most lost", gains.lost))
        if changes
    ]
    return _section(gains_title(gains), "\n".join(parts))


def _gains_table(gains: Gains, changes: list[Change]) -> str:
    head, rows = gains_rows(gains, changes)
    number = ' class="number"'
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{number * (column in _NUMBERS)}>{escape(text)}</td>" for column, text in enumerate(row[1:], 1))
        + "</tr>\n"
        for row in rows
    )
    return _table(heads, body, "sortable")


def _view(comparison: Comparison) -> str:
    return (
        '<noscript><p>The view of single queries needs JavaScript.</p></noscript>\n<div id="view" hidden>'
        '<form id="choice" autocomplete="off">'
        '<label>Run <select name="run"></select></label>'
        '<label>against <select name="against"></select></label>'
        '<label>in <select name="measure"></select></label>'
        '<label>Show <select name="show"><option value="all">all queries</option><option value="won">won</option>'
        '<option value="tied">tied</option><option value="lost">lost</option></select></label>'
        '<label>Id or text contains <input name="words" type="search"></label>'
        "</form>"
        '<p id="counts" role="status"></p>'
        '<div class="wide" tabindex="0"><table id="queries"><thead></thead><tbody></tbody></table></div>'
        '<p id="pages"><button type="button" id="before">Previous</button> <span></span> '
        '<button type="button" id="after">Next</button></p>'
        "</div>"
    )


def _origin(facts) -> str:
    items = []
    for name, value in facts.items():
        lines = [f"{key}: {inner}" for key, inner in value.items()] if hasattr(value, "items") else [str(value)]
        items.append(f"<dt>{escape(name)}</dt>" + "".join(f"<dd>{escape(line)}</dd>" for line in lines))
    return f"<dl>{''.join(items)}</dl>"


def _data(comparison: Comparison) -> dict:
    """Return what the view shows, column by column."""
    qids, runs = comparison.qids, list(comparison.values)
    texts = [comparison.text_of(qid) for qid in qids]
    return {
        "runs": runs,
        "measures": comparison.measures,
        "counts": [parse_measure(measure).is_total for measure in comparison.measures],
        "against": None if comparison.against is None else runs.index(comparison.against),
        "run": next((runs.index(run) for run in comparison.gains), None),
        "qids": qids,
        "texts": texts if any(texts) else None,
        "values": [
            [[_short(of_run[measure][qid]) for qid in qids] for measure in comparison.measures]
            for of_run in comparison.values.values()
        ],
        "hits": [[comparison.hits[run].get(qid) for qid in qids] for run in runs] if comparison.hits else None,
    }


def _short(value: float) -> float | int:
    value = round(value, 6)  # so that small differences are no ties
    return int(value) if value == int(value) else value


def _table(heads: str, rows: str, kind: str) -> str:
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{rows}</tbody></table></div>"
    )


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _json(record) -> str:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _asset(name: str) -> str:
    return files("jpq_pyserini.eval.report").joinpath(name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
