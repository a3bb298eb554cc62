"""READMEs of prebuilt indexes, in Pyserini's manner: what, how it was built, commands, expected scores."""

from jpq_pyserini.index import description as describe
from jpq_pyserini.index.record import IndexRecord
from jpq_pyserini.prebuilt.catalogue import VARIABLE
from jpq_pyserini.prebuilt.entries import Entry, JPQFacts
from jpq_pyserini.tables import as_markdown

_PAPER = "Zhan et al., *Jointly Optimizing Query Encoder and Product Quantization to Improve Retrieval Performance*, "
_CITATION = _PAPER + "CIKM 2021, https://doi.org/10.1145/3459637.3482358"
#: Said of each of the authors' indexes, by ``show`` and in the documentation.
_BUILT = (
    "By the authors, with the paper's settings: STAR as the document encoder, OPQ{M},IVF1,PQ{M}x8, then joint training "
    "of query encoder and centroids (https://github.com/jingtaozhan/JPQ). The download is converted into an index "
    "directory of this library; codes, centroids, rotation and weights stay as they are. Their tokenizer (RoBERTa of "
    "Transformers 2.8 with lower-casing) is rebuilt from `roberta-base`, which must be in the Hugging Face cache or "
    "reachable."
)
_IDS = {
    True: "A document's id in their index is its row in `{}`, which is also its id there.",
    False: "A document's id in their index is its row in `{}`; to give it the ids of the judgements (D…), that file is "
    "needed once, when the index is fetched.",
}
UNTRIED = (
    "The authors' files could not be downloaded where this catalogue was written, so nothing was measured with them: "
    "not the links, not the sizes, not the scores. The import is tested with small random models in exactly their "
    "layout, and gives the scores of their formula."
)


def of_directory(entry: Entry, record: IndexRecord) -> str:
    """Return the README of a packed index directory."""
    scores = describe.score_table(entry.jpq.expected) if entry.jpq.expected else "None are recorded."
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
    """Return what there is to know of an index that the paper's authors published; ``show`` prints it."""
    jpq = entry.jpq
    ids = "" if jpq.docids == "row" else f" --collection {jpq.collection}"
    fetch = [f"python -m jpq_pyserini.prebuilt fetch {entry.name}{ids}"] if ids else []
    files = f"--index {entry.filename} --encoder m{jpq.m}{ids} --output {entry.name}"
    sections = [
        ("What it is", _release_facts(entry)),
        ("How to use it", _shell(*fetch, *_search(entry.name))),
        ("From files that you downloaded yourself", _shell(f"python -m jpq_pyserini.index import {files}")),
    ]
    if jpq.dual_encoder:
        folder = f"m{jpq.m}/m{jpq.m}.marcopass"
        command = (
            f"python -m jpq_pyserini.index import --encoder {folder}.query.encoder "
            f"--document-encoder {folder}.doc.encoder --collection corpus.jsonl --output my-index"
        )
        links = "\n".join(f"- {url}" for url in jpq.dual_encoder.urls)
        text = f"Download and unpack the dual encoder, then encode your own collection with it:\n\n{links}"
        sections.append(("Other collections, zero-shot", f"{text}\n\n{_shell(command)}"))
    sections += [
        ("Expected scores", _release_scores(jpq)),
        ("How it was built", f"{_BUILT}\n\n{_IDS[jpq.docids == 'row'].format(jpq.collection)}"),
        ("What could not be tried", UNTRIED),
        (
            "Checksums",
            "The authors published none. After the download the size announced by the server, the format, "
            f"M={jpq.m} and the number of documents ({entry.documents:,}) are checked.\n\n"
            + "\n".join(
                [f"- index: {url}" for url in entry.urls] + [f"- query encoder: {url}" for url in jpq.encoder.urls]
            ),
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
        ("Collection", str(jpq.collection)),
        ("Documents", f"{entry.documents:,}"),
        ("Dimension D", str(jpq.dimension)),
        ("Sub-vectors M", str(jpq.m)),
        ("Bits a code", str(jpq.nbits)),
        ("Bytes a document", f"{jpq.m} ({4 * (jpq.dimension or 0) // (jpq.m or 1)} times fewer than float32)"),
        ("Query length", f"{jpq.encoder.max_query_length} tokens"),
    ]
    return as_markdown([("", ""), *rows], "l")


def _release_scores(jpq: JPQFacts) -> str:
    if not jpq.expected:
        return (
            "The authors published numbers for M=96 only; for this M see the curves of figure 4 in the paper. "
            "Take what you measure as a measurement, not as a reproduction."
        )
    text = describe.score_table(jpq.expected)
    text += f"\n\nPublished by the authors ({jpq.expected_source}), not measured here."
    if jpq.dual_encoder and jpq.dual_encoder.expected:
        text += "\n\nZero-shot, from their README:\n\n" + describe.score_table(jpq.dual_encoder.expected)
    return text
