"""READMEs of prebuilt indexes, in Pyserini's manner: what, how it was built, commands, expected scores."""

from jpq_pyserini.index import description as describe
from jpq_pyserini.index.record import IndexRecord
from jpq_pyserini.prebuilt.catalogue import VARIABLE, Entry

_PAPER = "Zhan et al., *Jointly Optimizing Query Encoder and Product Quantization to Improve Retrieval Performance*, "
_CITATION = _PAPER + "CIKM 2021, https://doi.org/10.1145/3459637.3482358"
_AUTHORS = "https://github.com/jingtaozhan/JPQ"


def of_directory(entry: Entry, record: IndexRecord) -> str:
    """Return the README of a packed index directory."""
    expected = entry.jpq.get("expected") or {}
    scores = describe.score_table(expected) if expected else "None are recorded."
    return _page(
        entry.name,
        entry.description,
        ("What it is", describe.facts(record)),
        ("How it was built", describe.history(record)),
        (
            "How to use it",
            f"Name the catalogue (the JSON file beside this README, or its URL) in `{VARIABLE}`:\n\n"
            + _shell(f"export {VARIABLE}=/path/to/{entry.name}.json", *_search(entry.name)),
        ),
        ("Expected scores", scores),
        ("Checksums", _checksums(entry)),
    )


def of_release(entry: Entry) -> str:
    """Return the README of an index that the paper's authors published."""
    jpq, encoder = entry.jpq, entry.jpq["encoder"]
    by_row = jpq["docids"] == "row"
    fetch = [] if by_row else [f"python -m jpq_pyserini.prebuilt fetch {entry.name} --collection {jpq['collection']}"]
    zero_shot = jpq.get("dual_encoder")
    sections = [
        ("What it is", _release_facts(entry)),
        (
            "How it was built",
            f"By the authors, with the paper's settings: STAR as the document encoder, OPQ{jpq['m']},IVF1,"
            f"PQ{jpq['m']}x8, then joint training of query encoder and centroids ([their repository]({_AUTHORS})). The "
            "download is converted into an index directory of this library; codes, centroids, rotation and weights "
            "stay as they are. Their tokenizer (RoBERTa of Transformers 2.8 with lower-casing) is rebuilt from "
            "`roberta-base`, which must be in the Hugging Face cache or reachable.\n\n" + _ids(jpq),
        ),
        ("How to use it", _shell(*fetch, *_search(entry.name)) + "\n\n" + _by_hand(entry, by_row)),
    ]
    if zero_shot:
        sections.append(("Other collections, zero-shot", _zero_shot(zero_shot, jpq["m"])))
    sections += [
        ("Expected scores", _release_scores(jpq)),
        (
            "What was not run",
            "The authors' files could not be downloaded where this catalogue was written, so nothing on this page was "
            "measured with them: not the links, not the sizes, not the scores. The import is tested with small random "
            "models in exactly their layout, and gives the scores of their formula.",
        ),
        (
            "Checksums",
            "The authors published none. After the download the size announced by the server, the format, "
            f"M={jpq['m']} and the number of documents ({entry.documents:,}) are checked.\n\n"
            + "\n".join(f"- index: {url}" for url in entry.urls)
            + "\n"
            + "\n".join(f"- query encoder: {url}" for url in encoder["urls"]),
        ),
        ("Cite", _CITATION),
    ]
    return _page(entry.name, entry.description, *sections)


def _page(title: str, description: str, *sections: tuple[str, str]) -> str:
    parts = [f"# {title}", description, *(f"## {head}\n\n{text}" for head, text in sections)]
    return "\n\n".join(parts) + "\n"


def _shell(*commands: str) -> str:
    return "```bash\n" + "\n".join(commands) + "\n```"


def _search(name: str) -> list[str]:
    return [f"python -m pyserini.search.faiss --index {name} --encoder jpq --topics topics.tsv --output run.txt"]


def _checksums(entry: Entry) -> str:
    return f"- {entry.filename}: {entry.size:,} bytes\n- md5 `{entry.md5}`\n- sha256 `{entry.sha256}`"


def _release_facts(entry: Entry) -> str:
    jpq = entry.jpq
    rows = [
        ("Collection", jpq["collection"]),
        ("Documents", f"{entry.documents:,}"),
        ("Dimension D", str(jpq["dimension"])),
        ("Sub-vectors M", str(jpq["m"])),
        ("Bits a code", str(jpq["nbits"])),
        ("Bytes a document", f"{jpq['m']} ({4 * jpq['dimension'] // jpq['m']} times fewer than float32)"),
        ("Query length", f"{jpq['encoder']['max_query_length']} tokens"),
    ]
    return describe.table(("", ""), rows)


def _ids(jpq: dict) -> str:
    if jpq["docids"] == "row":
        return f"A document's id in their index is its row in `{jpq['collection']}`, which is also its id there."
    return (
        f"A document's id in their index is its row in `{jpq['collection']}`; to give it the ids of the judgements "
        "(D…), that file is needed once, when the index is fetched."
    )


def _by_hand(entry: Entry, by_row: bool) -> str:
    jpq = entry.jpq
    ids = "" if by_row else f" --collection {jpq['collection']}"
    files = f"--index {entry.filename} --encoder m{jpq['m']}{ids} --output {entry.name}"
    command = f"python -m jpq_pyserini.prebuilt import {files}"
    return "Or, with files that you downloaded yourself:\n\n" + _shell(command)


def _zero_shot(dual: dict, m: int) -> str:
    folder = f"m{m}/m{m}.marcopass"
    command = (
        f"python -m jpq_pyserini.prebuilt import --encoder {folder}.query.encoder "
        f"--document-encoder {folder}.doc.encoder --collection corpus.jsonl --output my-index"
    )
    links = "\n".join(f"- {url}" for url in dual["urls"])
    return f"Download and unpack the dual encoder, then encode your own collection with it:\n\n{links}\n\n" + _shell(
        command
    )


def _release_scores(jpq: dict) -> str:
    expected = jpq.get("expected") or {}
    if not expected:
        return (
            "The authors published numbers for M=96 only; for this M see the curves of figure 4 in the paper. "
            "Take what you measure as a measurement, not as a reproduction."
        )
    text = (
        describe.score_table(expected) + f"\n\nPublished by the authors ({jpq['expected_source']}), not measured here."
    )
    if zero_shot := (jpq.get("dual_encoder") or {}).get("expected"):
        text += "\n\nZero-shot, from their README:\n\n" + describe.score_table(zero_shot)
    return text
