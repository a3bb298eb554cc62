"""Wheel, source distribution and editable install, each in a virtual environment of its own."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parent.parent
BACKEND_CALL = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def run(*command, cwd=None):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "JPQ_PYSERINI_HOOK")}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment, timeout=600)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the tracked and new files, so that building leaves nothing in the repository."""
    copy = tmp_path_factory.mktemp("source") / "repository"
    unwanted = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", "build", "dist", ".venv*", ".*_cache")
    return shutil.copytree(REPOSITORY, copy, ignore=unwanted)


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    name = run(sys.executable, "-c", BACKEND_CALL, "build_sdist", folder, cwd=source).stdout.split()[-1]
    return folder / name


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel built from the unpacked sdist, so that anything the sdist lacks is missed here."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = next(path for path in folder.iterdir() if path.is_dir())
    name = run(sys.executable, "-c", BACKEND_CALL, "build_wheel", folder, cwd=unpacked).stdout.split()[-1]
    return folder / name


def test_sdist_is_complete(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("jpq_pyserini", "eval", "prebuilt", "tests"):
        present = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / folder).rglob("*.py")}
        assert present <= names
    assert {"LICENSE", "MANIFEST.in", "constraints.txt", "pyproject.toml", "setup.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_wheel_holds_the_hook_and_the_package_only(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = archive.read(next(name for name in names if name.endswith("/RECORD"))).decode()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert "jpq_pyserini.pth" in names
    assert "jpq_pyserini.pth,sha256=" in record
    assert {"jpq_pyserini/eval/__init__.py", "jpq_pyserini/py.typed"} <= set(names)
    assert {"jpq_pyserini/eval/report/page.css", "jpq_pyserini/eval/report/page.js"} <= set(names)
    data = [*(REPOSITORY / "prebuilt").glob("*.*"), *(REPOSITORY / "eval").rglob("*.*")]
    assert {f"jpq_pyserini/_data/{path.relative_to(REPOSITORY)}" for path in data if path.is_file()} <= set(names)
    assert "jpq_pyserini/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"jpq_pyserini", "jpq_pyserini.pth"}
    assert "License-Expression: Apache-2.0" in metadata
    assert "Provides-Extra: quickstart" in metadata


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_install_puts_the_hook_in_place_and_uninstall_removes_it(kind, source, wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation"]
    # An isolated build would fetch setuptools; this one borrows it from the environment of the tests.
    site_packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    borrowed = site_packages / "borrowed.pth"
    import setuptools

    borrowed.write_text(str(Path(setuptools.__file__).parent.parent) + "\n")
    run(*pip, "install", *options, *([wheel] if kind == "wheel" else ["--editable", source]))
    borrowed.unlink()
    hook = site_packages / "jpq_pyserini.pth"
    assert hook.is_file()
    assert hook.read_text().count("\n") == 1
    found = "import sys; print([f.__module__ for f in sys.meta_path if f.__module__ == 'jpq_pyserini.pth'])"
    assert run(python, "-c", found, cwd=tmp_path).stdout == "['jpq_pyserini.pth']\n"
    where = "import jpq_pyserini.eval as e, jpq_pyserini.plugin.startup; print(e.__file__)"
    assert Path(run(python, "-c", where, cwd=tmp_path).stdout.strip()).is_file()
    # The hook acts: a module stands in for Pyserini, and as NumPy is missing here, it ends in one line.
    (tmp_path / "pyserini.py").write_text("import sys; print('jpq_pyserini.plugin.register' in sys.modules)\n")
    done = run(python, "-c", "import pyserini", cwd=tmp_path)
    assert (done.stdout, done.stderr.count("\n")) == ("False\n", 1)
    run(*pip, "uninstall", "--yes", "jpq_pyserini")
    assert not hook.exists()
    assert list((tmp_path / "venv").rglob("*jpq_pyserini*")) == []


@pytest.mark.parametrize("kind", ["wheel", "checkout"])
def test_data_is_found(kind, wheel, tmp_path):
    """Experiments and the catalogue are found in what a wheel installs and in a checkout."""
    folder = REPOSITORY
    if kind == "wheel":
        folder = tmp_path
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    where = "from jpq_pyserini.resources import data_folder as f; print(f('eval') / 'experiments' / 'squad.yaml')"
    found = Path(run(sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {where}", cwd=folder).stdout.strip())
    assert found.is_file()
    assert found.is_relative_to(folder)
