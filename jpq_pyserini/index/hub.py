"""Index directories on the Hugging Face Hub: one model repository each, with a model card made from the record."""

import os
from pathlib import Path

from jpq_pyserini.errors import JPQError, reason_of
from jpq_pyserini.index import description as describe
from jpq_pyserini.index.record import IndexRecord, check_verified, refuse_reference, verify_directory
from jpq_pyserini.names import RECORD

_PAPER = "https://doi.org/10.1145/3459637.3482358"


def push_to_hub(
    directory: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    scores: dict[str, dict[str, float]] | None = None,
    commit_message: str = "JPQ index",
) -> str:
    """Upload an index directory, and a model card with its training record and scores.

    Args:
        directory: a complete index directory; its files are compared with its record first.
        repo_id: ``"owner/name"``; created if it does not exist.
        private: for a new repository.
        token: of the Hub; None: the one that ``hf auth login`` stored.
        revision: branch.
        scores: ``{queries: {measure: value}}`` for the card; None: what the training measured.
        commit_message: of the commit.

    Returns:
        The URL of the commit.

    Raises:
        JPQError: the directory is not complete, or the Hub refused; the message has its reason.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    directory = Path(directory)
    record = IndexRecord.read(directory)
    check_verified(directory)
    refuse_reference(directory)
    card = model_card(record, repo_id, scores)
    files = [CommitOperationAdd("README.md", card.encode())]
    files += [CommitOperationAdd(name, directory / name) for name in (*record.sha256, RECORD)]
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.create_commit(repo_id, files, commit_message=commit_message, revision=revision)
    except Exception as error:  # of the hub, of HTTP, of the network
        raise _refused(f"cannot upload {directory} to {repo_id}", error) from error
    return done.commit_url


def from_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
) -> Path:
    """Download an index directory; returns where it is: in the Hub's cache, or ``local_dir``.

    What is there already is not downloaded again, and with ``local_files_only`` or ``HF_HUB_OFFLINE=1`` only that is
    used. No code of the repository is run.

    Raises:
        JPQError: there is no such repository, here or on the Hub, it holds no JPQ index, or a file is damaged.
    """
    from huggingface_hub import snapshot_download

    try:
        directory = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_dir=local_dir,
                local_files_only=local_files_only,
                ignore_patterns=["*.py", "*.bin", "*.pkl", "*.pickle"],  # an index has none, and none is wanted
            )
        )
    except Exception as error:
        raise _refused(f"cannot get {repo_id}", error) from error
    if not (directory / RECORD).is_file():
        raise JPQError(f"{repo_id} has no {RECORD}, so it is no JPQ index: name one that push_to_hub made")
    if damaged := verify_directory(directory):
        raise JPQError(f"{repo_id}: {', '.join(damaged)} is missing or damaged in {directory}: remove it and try again")
    return directory


def model_card(record: IndexRecord, repo_id: str, scores: dict[str, dict[str, float]] | None = None) -> str:
    """Return the README of a repository: what the index is, how to use it, its training record and scores."""
    scores = describe.scores(record) if scores is None else scores
    return f"""\
---
library_name: jpq_pyserini
pipeline_tag: sentence-similarity
tags:
- information-retrieval
- dense-retrieval
- product-quantization
- jpq
- pyserini
---

# {repo_id}

A JPQ index ([Zhan et al., CIKM 2021]({_PAPER})) of {record.count:,} documents, with its query encoder.

{describe.facts(record)}

## Use

```python
from jpq_pyserini import JPQFaissSearcher, JPQIndex

index = JPQIndex.from_hub("{repo_id}")
hits = JPQFaissSearcher(index.path).search("a question", k=10)
```

## Scores

{describe.score_table(scores) if scores else "None are recorded."}

## Training record

{describe.history(record)}
"""


def _refused(what: str, error: Exception) -> JPQError:
    return JPQError(f"{what} ({reason_of(error)}): check the name, the token (hf auth login) and the network")
