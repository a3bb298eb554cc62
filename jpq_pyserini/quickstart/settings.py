"""What a quickstart can be told; the command line is generated from it."""

import os
from dataclasses import dataclass, field

from jpq_pyserini.cli import check_settings
from jpq_pyserini.errors import JPQError


def _option(default, text: str, **metadata):
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True)
class Settings:
    """Options of ``python -m jpq_pyserini.quickstart``."""

    output: str = _option("jpq-quickstart", "directory for everything that is made", metavar="DIR")
    corpus: str | None = _option(None, "your own collection: a JSONL file or folder, JsonCollection", metavar="F")
    topics: str | None = _option(None, "queries of your collection to train with", metavar="T")
    qrels: str | None = _option(None, "judgements of these queries", metavar="Q")
    dev_topics: str | None = _option(
        None, "queries that choose the checkpoint (default: split off by hash)", metavar="T"
    )
    dev_qrels: str | None = _option(None, "judgements of these queries", metavar="Q")
    test_topics: str | None = _option(None, "queries of the table at the end (default: split off by hash)", metavar="T")
    test_qrels: str | None = _option(None, "judgements of these queries", metavar="Q")
    max_passages: int = _option(3600, "passages taken from the installed packages")
    encoder: str | None = _option(
        None, "encoder folder or hub name (default: all-MiniLM-L6-v2)", metavar="NAME_OR_PATH"
    )
    pooling: str | None = _option(None, "pooling of a plain Hugging Face encoder", choices=("cls", "mean"))
    l2_norm: bool = _option(False, "normalise the embeddings of a plain Hugging Face encoder")
    max_length: int | None = _option(None, "passages are cut at this many tokens (default: 80; your own: 256)")
    m: int = _option(48, "sub-vectors, bytes a document")
    epochs: int = _option(2, "epochs of JPQ training")
    encoder_lr: float = _option(
        3e-5, "learning rate of the query encoder: little data wants more than the paper's 5e-6"
    )
    threads: int = _option(os.cpu_count() or 1, "threads for indexing with Lucene")

    def __post_init__(self):
        own = {"--topics": self.topics, "--qrels": self.qrels}
        parts = {
            "--dev-topics": self.dev_topics,
            "--dev-qrels": self.dev_qrels,
            "--test-topics": self.test_topics,
            "--test-qrels": self.test_qrels,
        }
        for flag, value in (own | parts).items():
            if value is not None and self.corpus is None:
                raise JPQError(
                    f"{flag} {value} needs --corpus: the queries of your own collection go with its passages"
                )
        for flag, value in own.items():
            if value is None and self.corpus is not None:
                raise JPQError(f"--corpus {self.corpus} needs {flag}: JPQ learns from queries and their judgements")
        for part in ("dev", "test"):
            if (parts[f"--{part}-topics"] is None) != (parts[f"--{part}-qrels"] is None):
                raise JPQError(f"--{part}-topics and --{part}-qrels go together: give both or neither")
        check_settings(self)
        for name, low in (("max_passages", 300), ("max_length", 8), ("m", 1), ("epochs", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise JPQError(f"--{name.replace('_', '-')} {value}: at least {low}")

    @property
    def passage_tokens(self) -> int:
        return self.max_length or (80 if self.corpus is None else 256)
