"""Module paths of version 0.1, which still work: imports give the module in its new place, commands run it."""

import importlib
import importlib.machinery
import importlib.util
import sys
import warnings

#: Old module -> new module; what is inside a package has moved with it.
MOVED = {
    "jpq_pyserini.anisotropic": "jpq_pyserini.codec.score_aware",
    "jpq_pyserini.backends": "jpq_pyserini.encoders.backends",
    "jpq_pyserini.describe": "jpq_pyserini.index.description",
    "jpq_pyserini.docids": "jpq_pyserini.data.docids",
    "jpq_pyserini.encoder": "jpq_pyserini.plugin.encoders",
    "jpq_pyserini.eval.encoding": "jpq_pyserini.bench.backends",
    "jpq_pyserini.eval.latency": "jpq_pyserini.bench.latency",
    "jpq_pyserini.eval.lists": "jpq_pyserini.bench.nprobe",
    "jpq_pyserini.eval.memory": "jpq_pyserini.bench.memory",
    "jpq_pyserini.eval.run_writing": "jpq_pyserini.data.runs",
    "jpq_pyserini.eval.runs": "jpq_pyserini.data.runs",
    "jpq_pyserini.eval.systems": "jpq_pyserini.bench.systems",
    "jpq_pyserini.eval.timing": "jpq_pyserini.timing",
    "jpq_pyserini.eval.train_step": "jpq_pyserini.bench.train_step",
    "jpq_pyserini.exact": "jpq_pyserini.index.exact",
    "jpq_pyserini.flat": "jpq_pyserini.data.flat",
    "jpq_pyserini.hub": "jpq_pyserini.index.hub",
    "jpq_pyserini.index.add": "jpq_pyserini.index.commands",
    "jpq_pyserini.index.build": "jpq_pyserini.index.commands",
    "jpq_pyserini.index.convert": "jpq_pyserini.index.commands",
    "jpq_pyserini.index.corpus": "jpq_pyserini.data.corpus",
    "jpq_pyserini.index.describe": "jpq_pyserini.index.description",
    "jpq_pyserini.index.grow": "jpq_pyserini.index.coding",
    "jpq_pyserini.index.merge": "jpq_pyserini.index.commands",
    "jpq_pyserini.layouts": "jpq_pyserini.index.layouts",
    "jpq_pyserini.lines": "jpq_pyserini.data.lines",
    "jpq_pyserini.neighbours": "jpq_pyserini.codec.neighbours",
    "jpq_pyserini.prebuilt.adopt": "jpq_pyserini.plugin.prebuilt",
    "jpq_pyserini.prebuilt.release": "jpq_pyserini.index.imported.convert",
    "jpq_pyserini.prebuilt.release_encoder": "jpq_pyserini.index.imported.encoder",
    "jpq_pyserini.prebuilt.release_index": "jpq_pyserini.index.imported.index_file",
    "jpq_pyserini.searcher": "jpq_pyserini.plugin.searcher",
    "jpq_pyserini.text_encoder": "jpq_pyserini.encoders.text_encoder",
    "jpq_pyserini.topics": "jpq_pyserini.data.topics",
    "jpq_pyserini.torch_search": "jpq_pyserini.index.torch_search",
    "jpq_pyserini.train.evaluation": "jpq_pyserini.train.trainer",
    "jpq_pyserini.train.given_negatives": "jpq_pyserini.train.negatives",
    "jpq_pyserini.train.interrupt": "jpq_pyserini.train.checkpoint",
    "jpq_pyserini.train.objective": "jpq_pyserini.train.step",
    "jpq_pyserini.train.opq": "jpq_pyserini.codec.opq",
    "jpq_pyserini.train.run_hits": "jpq_pyserini.train.run_negatives",
}


class _Alias:
    """Loads an old name by importing the new one."""

    def __init__(self, new: str):
        self.new = new

    def create_module(self, spec):
        module = importlib.import_module(self.new)
        self.spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec  # the import system has just put the old name's there

    def get_code(self, name):  # python -m OLD
        spec = importlib.util.find_spec(self.new)
        return spec.loader.get_code(self.new)


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        parent, _, last = name.rpartition(".")
        new = MOVED.get(name) or (f"{MOVED[parent]}.{last}" if parent in MOVED else None)
        found = new and importlib.util.find_spec(new)
        if not (new and found):
            return None
        if last != "__main__":
            warnings.warn(f"{name} is now {new}", DeprecationWarning, stacklevel=2)
        package = found.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(name, _Alias(new), is_package=package)


def install() -> None:
    """Let the import system know the old names; a second call changes nothing."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)  # before the path: an old folder may still hold compiled files
