"""The stages of a quickstart: what each makes, from what, and with which command."""

import json
from pathlib import Path

from jpq_pyserini import __version__
from jpq_pyserini.encoders.minilm import encoder_digest, find_encoder, pyserini_options, token_limit
from jpq_pyserini.names import QUERY_ENCODER
from jpq_pyserini.quickstart import commands
from jpq_pyserini.quickstart.collection import PARTS, Collection, from_docstrings, read_passages
from jpq_pyserini.quickstart.docstrings import collect, source_roots, versions
from jpq_pyserini.quickstart.encoding import cache_root, encode_passages
from jpq_pyserini.quickstart.fusion import balanced_alpha
from jpq_pyserini.quickstart.settings import Settings
from jpq_pyserini.quickstart.steps import Workspace
from jpq_pyserini.train.config import TrainConfig


class Stages:
    """One run in one directory. Each method is a stage and returns the fingerprint of what it made."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.directory = Path(settings.output)
        self.encoder = find_encoder(settings.encoder)
        self.passage_tokens = min(settings.passage_tokens, token_limit(self.encoder))
        self.workspace = Workspace(self.directory)
        self.collection = Collection(self.directory / "collection")
        self.indexes = {name: self.directory / name.lower() for name in ("BM25", "flat", "OPQ", "JPQ")}
        self.runs = {name: self.directory / "runs" / f"{name.lower()}.txt" for name in (*self.indexes, "hybrid")}
        self.timing = self.directory / "timing.json"

    def make_collection(self) -> str:
        """Write passages, topics and qrels."""
        outputs = [self.collection.corpus]
        outputs += [file(part) for part in PARTS for file in (self.collection.topics, self.collection.qrels)]
        work = self._write_docstrings if self.settings.corpus is None else self._write_own
        return self.workspace.step("collection", self._collection_source(), outputs, work)

    def _collection_source(self) -> dict:
        own = ("corpus", "topics", "qrels", "dev_topics", "dev_qrels", "test_topics", "test_qrels")
        if self.settings.corpus is not None:
            files = {name: _stamp(getattr(self.settings, name)) for name in own}
            return files | {"pyserini": versions()["pyserini"], "jpq_pyserini": __version__}
        return {"passages": self.settings.max_passages, "versions": versions(), "jpq_pyserini": __version__}

    def _write_docstrings(self) -> None:
        roots = source_roots()
        items = collect(roots, self.settings.max_passages)
        self.collection.write(*from_docstrings(items))
        print(f"  {len(items)} docstrings of {', '.join(roots)}, for instance:")
        for item in items[:: max(1, len(items) // 3)][:3]:
            print(f"    {item.summary!r}  is the query for  {item.docid}: {item.body[:60]!r}…")

    def _write_own(self) -> None:
        from jpq_pyserini.quickstart.userdata import read_queries

        chosen = self.settings
        passages = list(read_passages(chosen.corpus))
        files = {
            "train": (chosen.topics, chosen.qrels),
            "dev": (chosen.dev_topics, chosen.dev_qrels) if chosen.dev_topics else None,
            "test": (chosen.test_topics, chosen.test_qrels) if chosen.test_topics else None,
        }
        self.collection.write(passages, read_queries(files, [docid for docid, _ in passages]))

    def index_bm25(self, collection: str) -> str:
        """Build the Lucene index."""
        output = self.indexes["BM25"]
        command = commands.index_bm25(self.collection.corpus, output, self.settings.threads)
        return self.workspace.command("index-bm25", command, collection, [output])

    def encode(self, collection: str) -> str:
        """Encode the passages into the flat index."""
        docids, texts = zip(*self.collection.passages(), strict=True)
        output, chosen = self.indexes["flat"], self.settings
        made_from = [collection, encoder_digest(self.encoder), self.passage_tokens, chosen.pooling, chosen.l2_norm]

        def work():
            new = encode_passages(
                docids,
                texts,
                self.encoder,
                output,
                max_length=self.passage_tokens,
                pooling=chosen.pooling,
                l2_norm=chosen.l2_norm,
            )
            print(f"  {new} passages encoded now, {len(texts) - new} were in {cache_root()}")

        return self.workspace.step("encode", made_from, [output], work)

    def train(self, name: str, epochs: int, flat: str) -> str:
        """Train an index; no epochs leave it as plain OPQ makes it."""
        chosen, output = self.settings, self.indexes[name]
        options = ["--m", chosen.m, "--epochs", epochs, "--passage-max-length", self.passage_tokens]
        if epochs:
            options += ["--encoder-lr", chosen.encoder_lr, "--eval-steps", self._eval_steps(), "--resume"]
        else:
            options += ["--anisotropy", 0]
        options += ["--pooling", chosen.pooling] if chosen.pooling else []
        options += ["--l2-norm"] if chosen.l2_norm else []
        command = commands.train(self.indexes["flat"], self.encoder, self.collection, output, options)
        left = output.with_name(output.name + ".checkpoint")
        return self.workspace.command(f"train-{name.lower()}", command, flat, [output], quiet=False, resumes_from=left)

    def _eval_steps(self) -> int:
        """Return the steps between two looks at the dev queries: a tenth of a run, but each look takes seconds."""
        batch = TrainConfig().batch_size
        with open(self.collection.topics("train"), encoding="utf-8") as file:
            steps = self.settings.epochs * sum(1 for _ in file) // batch
        return max(40, steps // 10)

    def search(self, name: str, made_from: object) -> str:
        """Search the test queries with one system."""
        topics, run, index = self.collection.topics("test"), self.runs[name], self.indexes.get(name)
        run.parent.mkdir(exist_ok=True)
        if name == "BM25":
            command = commands.search_bm25(index, topics, run)
        elif name == "flat":
            command = commands.search_dense(index, self._flat_encoder(), topics, run)
        elif name == "hybrid":
            alpha = balanced_alpha(self.runs["JPQ"], self.runs["BM25"])
            command = commands.search_hybrid(self.indexes["JPQ"], self.indexes["BM25"], alpha, topics, run)
        else:
            command = commands.search_dense(index, ["jpq"], topics, run)
        return self.workspace.command(f"search-{name.lower()}", command, made_from, [run])

    def _flat_encoder(self) -> list:
        """Return what follows ``--encoder`` for the encoder as it was before training."""
        options = pyserini_options(self.encoder, self.settings.pooling, self.settings.l2_norm)
        # What Pyserini's own class cannot do, the untrained encoder saved with the OPQ index can.
        return [self.indexes["OPQ"] / QUERY_ENCODER] if options is None else [self.encoder, *options]

    def time(self, made_from: object) -> dict:
        """Measure milliseconds a query."""
        command = ["-m", "jpq_pyserini.quickstart.timing", "--topics", self.collection.topics("test")]
        command += ["--encoder", self.indexes["JPQ"] / QUERY_ENCODER, "--bm25", self.indexes["BM25"]]
        for name in ("flat", "OPQ", "JPQ"):
            command += ["--faiss", f"{name}={self.indexes[name]}"]
        self.workspace.command("timing", [*command, "--output", self.timing], made_from, [self.timing])
        return json.loads(self.timing.read_text(encoding="utf-8"))


def _stamp(path: str | None) -> list | None:
    """Return what tells whether a file or folder has changed; a name of Pyserini's stands for itself."""
    if path is None or not Path(path).exists():
        return [path]
    files = sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]
    states = [(file, file.stat()) for file in files if file.is_file()]
    return [str(Path(path).resolve()), *((file.name, state.st_size, state.st_mtime_ns) for file, state in states)]
