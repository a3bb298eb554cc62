"""The start-up hook, second half: what happens once Pyserini is really wanted.

At the start of an interpreter, ``jpq_pyserini.pth`` (written by setup.py) only puts a finder on ``sys.meta_path`` that
waits for the name ``pyserini``. When that is imported it calls :func:`install` here, and steps aside for a finder that
watches a few of Pyserini's modules. When one of those is loaded, ``register`` acts.

``JPQ_PYSERINI_HOOK=0`` turns all of it off.
"""

import os
import sys
from _thread import get_ident

SWITCH = "JPQ_PYSERINI_HOOK"
_OFF = ("0", "off", "false", "no")
_PTH = "jpq_pyserini.pth"  # the waiting finder's __module__

#: Module name -> what ``register`` does to it: its functions run before or after the import, or before ``python -m``.
WATCHED = {
    "pyserini": "before",
    "jnius": "before",
    "pyserini.prebuilt_index_info": "before after",
    "pyserini.search._base": "after",
    "pyserini.util": "after",
    "pyserini.search.faiss._searcher": "after",
    "pyserini.search.faiss.__main__": "after main",
    "pyserini.search.hybrid.__main__": "main",
    "pyserini.encode.__main__": "after main",
    "pyserini.encode.query": "after main",
    "pyserini.server.config": "after",
    "pyserini.server.utils": "after",
}


def install() -> bool:
    """Start watching; a second call changes nothing. Returns whether the hook is on."""
    if os.environ.get(SWITCH, "").strip().lower() in _OFF:
        return False
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
    return True


def is_active() -> bool:
    """Tell whether Pyserini knows ``jpq`` wherever it is started in this environment: whether the ``.pth`` was read."""
    if os.environ.get(SWITCH, "").strip().lower() in _OFF:
        return False
    waits = any(getattr(each, "__module__", None) == _PTH for each in sys.meta_path)
    return waits or ("pyserini" in sys.modules and finder in sys.meta_path)  # it waits no longer then


class _Finder:
    """Lets the other finders find a watched module, then arranges for ``register`` to see it being executed."""

    def __init__(self):
        self._searching = set()  # (thread, name): another finder may ask us again while we ask it

    def find_spec(self, name, path=None, target=None):
        if name not in WATCHED or (key := (get_ident(), name)) in self._searching:
            return None
        self._searching.add(key)
        try:
            for other in list(sys.meta_path):
                find = None if other is self else getattr(other, "find_spec", None)
                spec = find(name, path, target) if find else None
                if spec is not None:
                    _watch(spec)
                    return spec
        finally:
            self._searching.discard(key)
        return None


finder = _Finder()


def _watch(spec) -> None:
    """Shadow ``exec_module`` (import) and ``get_code`` (``python -m``) of this one loader object until it is used.

    The loader keeps its class and identity, so whatever reads ``__spec__`` or ``__loader__`` sees what it always saw.
    A reload finds a new spec and passes here again.
    """
    name, when, loader = spec.name, WATCHED[spec.name], spec.loader
    plain_exec, plain_code = getattr(loader, "exec_module", None), getattr(loader, "get_code", None)

    def step_aside():
        for shadow in ("exec_module", "get_code"):
            vars(loader).pop(shadow, None)

    def exec_module(module):
        if module.__name__ != name:  # a loader that serves several modules, as zipimport's does
            return plain_exec(module)
        step_aside()
        if "before" in when:
            _act("before", name)
        plain_exec(module)
        if "after" in when:
            _act("after", name, module)

    def get_code(asked):
        if asked == name:
            step_aside()
            _act("before_main", name)
        return plain_code(asked)

    try:
        if plain_exec:
            loader.exec_module = exec_module
        if plain_code and "main" in when:
            loader.get_code = get_code
    except (AttributeError, TypeError):  # a loader without attributes of its own: leave the import alone
        pass


def _act(what, name, *args) -> None:
    """Run one of ``register``'s functions. Pyserini's import goes on whatever happens in ours."""
    try:
        from jpq_pyserini.plugin import register

        getattr(register, what)(name, *args)
    except Exception as error:
        if sys.stderr is not None:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            sys.stderr.write(
                f"jpq_pyserini: the plug-in could not act on {name} ({problem}); {SWITCH}=0 turns it off\n"
            )
