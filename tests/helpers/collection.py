"""A corpus in its tiny encoder's words, commands that index it, and what is in a folder, to be compared."""

import json
from pathlib import Path


def lines(first: int, stop: int) -> str:
    """Documents x<first>, … as JSON lines, of two to six known words that follow from their number; no two alike."""
    from helpers.tiny import WORDS

    texts = (" ".join(WORDS[n * (i + 1) // 196 ** (i % 2) % 196] for i in range(2 + n % 5)) for n in range(first, stop))
    return "".join(json.dumps({"id": f"x{n}", "contents": text}) + "\n" for n, text in enumerate(texts, first))


def files_of(folder: Path, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of a folder by name; of jpq.json what it says besides times and digest."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if "jpq.json" in files:
        record = json.loads(files.pop("jpq.json"))
        facts = [{name: value for name, value in event.items() if name != "when"} for event in record["history"]]
        files["jpq.json"] = json.dumps(record | {"history": facts, "digest": ""}).encode()
    return {name: content for name, content in files.items() if name not in but}


def build_arguments(tiny: Path, root: Path) -> list[str]:
    """The command that builds the index, without its output."""
    return ["build", "--like", str(tiny / "index"), "--corpus", str(root / "corpus"), "--vectors", "int8"]


def embed_arguments(tiny: Path, root: Path) -> list[str]:
    """The command that embeds the corpus, without its output."""
    return ["embed", "--encoder", str(tiny / "encoder"), "--corpus", str(root / "corpus")]
