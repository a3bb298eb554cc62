"""What happens when a watched Pyserini module is imported or run; called by ``startup`` only.

Pyserini has no place to plug an encoder in, and four ways of choosing one:

* ``FaissSearcher(dir, "name")`` calls a static method, which is wrapped.
* The hybrid command line and Python callers import ``init_query_encoder`` (documents: ``init_encoder``) from a
  ``__main__`` module, where it is wrapped. What is not ours goes to the original with its arguments untouched.
* ``python -m pyserini.search.faiss`` and ``python -m pyserini.encode`` define that function in the script itself, out
  of reach, and take the first key of a class map that is a substring of ``--encoder``. So, just before such a script
  runs, its own ``--encoder`` is read from ``sys.argv``; only if that is ours, it becomes the first key of the map. In
  any other process the maps stay exactly as Pyserini made them.
  ``--encoder-class auto`` and the like are for other encoders, so the word ``jpq`` and an index directory are ours
  whatever class is named with them; a query encoder's folder with a class goes to that class. Without any encoder, an
  index directory of ours, or a prebuilt one, is searched with its own.
* ``python -m pyserini.encode.query`` has no map but a chain of names, so there, likewise, every query encoder that the
  script is about to import is ours.
"""

import functools
import inspect
import os
import sys

from jpq_pyserini.cli import note
from jpq_pyserini.errors import JPQError, line_of
from jpq_pyserini.names import RECORD, SHARDS
from jpq_pyserini.plugin.ours import BARE, encoder_is_ours, is_index_directory

_MAIN_CLASS_MAPS = {
    "pyserini.search.faiss.__main__": "query_encoder_class_map",
    "pyserini.encode.__main__": "document_encoder_class_map",
}
_NAME_CHAIN = "pyserini.encode.query"
_limits: list[str] = []  # the --max-length of Pyserini's command that runs, if it has one


def before(name: str) -> None:
    """Before ``pyserini``: choose its Java. Before ``jnius``: drop the JVM option that this Java does not know.

    Before ``pyserini.prebuilt_index_info``, which may fetch catalogues: let it find those that are kept.
    """
    if name == "pyserini.prebuilt_index_info":
        from jpq_pyserini.plugin import catalogues

        catalogues.before_prebuilt_indexes()
        return
    from jpq_pyserini.plugin import java

    if name == "pyserini":
        java.activate()
    else:
        java.drop_missing_modules()


def after(name: str, module) -> None:
    """Wrap the functions with which the freshly imported ``module`` chooses an encoder or finds and opens an index."""
    if name in ("pyserini.prebuilt_index_info", "pyserini.search._base"):
        from jpq_pyserini.plugin import catalogues

        catalogues.wrap_topics(module) if name.endswith("_base") else catalogues.after_prebuilt_indexes()
    elif name == "pyserini.util":
        from jpq_pyserini.plugin.prebuilt import wrap_util

        wrap_util(module)
    elif name.startswith("pyserini.server."):
        from jpq_pyserini.plugin import servers

        servers.wrap_config(module) if name.endswith("config") else servers.wrap_utils(module)
    elif name == "pyserini.search.faiss._searcher":
        from jpq_pyserini.plugin.prebuilt import wrap_searcher

        _wrap_searcher(module.FaissSearcher)
        wrap_searcher(module.FaissSearcher)
    elif name == "pyserini.search.faiss.__main__":
        module.init_query_encoder = _or_ours(module.init_query_encoder, _query_encoder)
    elif name == "pyserini.encode.__main__":
        module.init_encoder = _or_ours(module.init_encoder, _document_encoder)
    elif name == _NAME_CHAIN:
        module.init_encoder = _or_ours(module.init_encoder, _query_encoder)


def before_main(name: str) -> None:
    """Before ``python -m name``: make room for our encoder, and let bad input end in one line."""
    sys.excepthook = _one_line(sys.excepthook)
    if name not in (*_MAIN_CLASS_MAPS, _NAME_CHAIN):
        return
    import pyserini.encode

    if name == "pyserini.search.faiss.__main__":
        _name_the_encoder_of_the_index()
    if limit := _own_argument("--max-length"):
        _limits.append(limit)
    encoder, encoder_class = _own_argument("--encoder"), _own_argument("--encoder-class")
    if encoder is None or not encoder_is_ours(encoder, encoder_class):
        return
    if name == _NAME_CHAIN:
        import pyserini.query_iterator  # what the script imports besides keeps Pyserini's own classes

        classes = [each for each in vars(pyserini.encode) if each.endswith("QueryEncoder") and each != "QueryEncoder"]
        vars(pyserini.encode).update(dict.fromkeys(classes, _of_name_chain))
    else:
        class_map = getattr(pyserini.encode, _MAIN_CLASS_MAPS[name])
        make = _document_encoder if name == "pyserini.encode.__main__" else _query_encoder
        ours = dict.fromkeys(filter(None, (encoder.lower(), encoder_class)), make)
        others = {key: value for key, value in class_map.items() if key not in ours}
        class_map.clear()  # in place: the scripts bind the dictionary itself
        class_map.update({**ours, **others})


def _name_the_encoder_of_the_index() -> None:
    """Add ``--encoder jpq`` to this process's arguments if they name an index of ours and nothing to encode queries."""
    from jpq_pyserini.plugin.prebuilt import our_entry

    index = _own_argument("--index")
    if index is None or _own_argument("--encoder") or _own_argument("--encoded-queries"):
        return
    if is_index_directory(index) or (not os.path.exists(index) and our_entry(index)):
        sys.argv += ["--encoder", BARE]
        note(f"no --encoder was given: queries are encoded with that of the index (--encoder {BARE})")


def _wrap_searcher(searcher_class) -> None:
    # The methods are replaced rather than the class: PRF asks for `type(searcher) == FaissSearcher`.
    plain_load = searcher_class.load_index
    plain_from_str = searcher_class._init_encoder_from_str

    @functools.wraps(plain_load)
    def load_index(self, index_dir):
        from jpq_pyserini.index.directory import of_one_state

        return of_one_state(index_dir, lambda: _load_index(self, index_dir))

    def _load_index(self, index_dir):
        ours = _our_encoder(getattr(self, "query_encoder", None))
        if ours is not None and not ours.is_fixed:
            ours.bind(index_dir)
        if os.path.isfile(os.path.join(index_dir, SHARDS)):
            index, docids = _shards(index_dir, ours)
        elif not os.path.isfile(os.path.join(index_dir, RECORD)):
            index, docids = plain_load(self, index_dir)
        else:
            from jpq_pyserini.index.directory import IndexDirectory
            from jpq_pyserini.index.record import IndexRecord
            from jpq_pyserini.index.rescoring import wanted_candidates

            recorded = 0 if ours is None else IndexRecord.read(index_dir).rescore
            rescore = wanted_candidates(recorded=recorded)
            parts = IndexDirectory.open(index_dir, codec=False, vectors=rescore != 0)
            if self.faiss_device == "cpu":
                docids = parts.docids
                index = _scored(parts, rescore, always=ours is not None)
            else:
                if parts.vectors is not None and rescore != 0:
                    note(f"{index_dir}: faiss-gpu searches the codes alone; JPQFaissSearcher uses the vectors as well")
                index, docids = plain_load(self, index_dir)
        if ours is not None and ours is self.query_encoder and ours.dimension != index.d:
            raise JPQError(
                f"the query encoder {ours.encoder_dir} gives {ours.dimension} dimensions but {index_dir}/index has "
                f"{index.d}: use the encoder that was trained with this index (--encoder jpq)"
            )
        return index, docids

    @functools.wraps(plain_from_str)
    def _init_encoder_from_str(encoder):
        return _query_encoder(encoder) if encoder_is_ours(encoder) else plain_from_str(encoder)

    searcher_class.load_index = load_index
    searcher_class._init_encoder_from_str = staticmethod(_init_encoder_from_str)


def _shards(folder, ours):
    """Open what stands for several index directories; they are searched on the CPU, in ``--threads`` threads."""
    from jpq_pyserini.index.record import IndexRecord
    from jpq_pyserini.index.rescoring import wanted_candidates
    from jpq_pyserini.index.sharded import open_shards, search_shards, shard_directories

    directories = shard_directories(folder)
    rescore = wanted_candidates(recorded=0 if ours is None else IndexRecord.read(directories[0]).rescore)
    index = search_shards(open_shards(directories, vectors=rescore != 0, checked=True), rescore)
    return index, index.docids


def _scored(parts, rescore, always):
    """Put exact scores in trec_eval's order before the index, and feedback vectors, which Faiss lacks for ivf-fastscan.

    With another encoder than ours, queries encoded before among them, only where Faiss itself rounds or the environment
    asks for rescoring: the rest stays as Pyserini made it.
    """
    from jpq_pyserini.index.rescoring import scored_index

    layout = parts.record.layout
    wanted = layout.endswith("fastscan") or (layout != "flat" and (always or rescore))
    return scored_index(parts, rescore) if wanted else parts.faiss_index


def _our_encoder(encoder):
    """Return the ``JPQQueryEncoder`` that ``encoder`` is or, like Pyserini's ``PcaEncoder``, wraps; else None."""
    loaded = sys.modules.get("jpq_pyserini.plugin.encoders")
    inner = getattr(encoder, "encoder", None)
    return next((e for e in (encoder, inner) if loaded and isinstance(e, loaded.JPQQueryEncoder)), None)


def _or_ours(plain, make):
    """Return ``plain`` (``init_query_encoder`` or ``init_encoder``) with our encoders taken out before it."""
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def choose(*args, **kwargs):
        given = signature.bind_partial(*args, **kwargs).arguments  # Pyserini 2.4 asks for more
        encoder = given.get("encoder")
        if not encoder_is_ours(encoder, given.get("encoder_class")):
            return plain(*args, **kwargs)
        from pyserini.util import resolve_device

        options = {name: given[name] for name in ("tokenizer_name", "prefix", "fp16") if name in given}
        return make(encoder, device=resolve_device(given.get("device"), backend="torch"), **options)

    return choose


def _query_encoder(encoder_dir, **kwargs):
    from jpq_pyserini.plugin.encoders import JPQQueryEncoder

    if _limits:  # Pyserini passes its default on as if it had been given
        kwargs["query_length"] = _length(_limits[0])
    return JPQQueryEncoder(encoder_dir, **kwargs)


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise JPQError(f"--max-length {text} is not a whole number of at least 1")
    return int(text)


def _of_name_chain(encoder_dir, device="cpu", prefix=None, **_):
    return _query_encoder(encoder_dir, device=device, prefix=prefix)  # the rest belongs to the class the chain meant


def _document_encoder(model_name, **kwargs):
    from jpq_pyserini.plugin.encoders import JPQDocumentEncoder

    return JPQDocumentEncoder(model_name, **kwargs)


def _own_argument(flag: str) -> str | None:
    """Return the value that argparse will see for ``flag`` in this process: the last one given."""
    value = None
    for position, argument in enumerate(sys.argv[1:], start=1):
        if argument == flag and position + 1 < len(sys.argv):
            value = sys.argv[position + 1]
        elif argument.startswith(flag + "="):
            value = argument.partition("=")[2]
    return value


def _one_line(plain_hook):
    @functools.wraps(plain_hook)
    def excepthook(kind, error, traceback):
        line = line_of(error) if isinstance(error, JPQError | MemoryError) else None
        if line is not None:
            sys.stderr.write(f"error: {line}\n")
        else:
            plain_hook(kind, error, traceback)

    return excepthook
