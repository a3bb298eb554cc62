"""The notebooks of ``examples/`` run from top to bottom, and show what their text says."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook with this interpreter; returns what its cells printed and returned, a text for each cell."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    from ipykernel.kernelspec import install

    install(prefix=str(tmp_path), kernel_name="this")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def text_of(output):
        assert output.output_type != "error"
        if output.get("name") == "stderr":
            return ""
        return output.get("text") or output["data"]["text/plain"]

    def execute(name):
        notebook = nbformat.read(EXAMPLES / name, as_version=4)
        place = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="this", resources=place).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return ["".join(map(text_of, cell.outputs)) for cell in cells]

    return execute


def rows(table):
    """Return {first cell: the others} of a printed table, without its marks."""
    lines = [line.replace(">", " ").replace("*", "").split() for line in table.splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) > 1}


def test_quick_tour(run):
    *_, search, comparison, description = run("quick_tour.ipynb")
    assert len(search.splitlines()) == 3
    scores = rows(comparison)
    assert float(scores["jpq"][0]) > 2 * float(scores["untrained"][0])  # RR@10
    assert description.startswith("(500, 16) uint8 (16, 16, 4)\n")


def test_compare_runs(run):
    _, table, fused, page, value = run("compare_runs.ipynb")
    assert rows(table)["sparse"] == ["0.6487", "0.6835", "0.7050"]
    assert float(rows(fused)["RRF"][0]) > float(rows(fused)["sparse"][0])
    assert rows(fused)["RRF"][0] == value
    assert "kB" in page
