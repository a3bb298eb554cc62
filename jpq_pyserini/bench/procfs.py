"""The memory of a process in bytes, as Linux's /proc tells it."""

import contextlib
import ctypes
from pathlib import Path


def sizes(pid: int | str = "self") -> dict[str, int]:
    """Return the sizes in /proc/PID/status by their names there; nothing when the process has ended or off Linux.

    ``VmRSS`` is what is resident, ``VmHWM`` the most that ever was, ``RssAnon`` what of it is no page of a file.
    """
    try:
        lines = Path("/proc", str(pid), "status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(value) for name, value, _ in fields}


def resident() -> int:
    """Return the resident size of this process; 0 off Linux."""
    return sizes().get("VmRSS", 0)


def peak() -> int:
    """Return the largest resident size since :func:`start_peak`; off Linux since the start of the process."""
    if (found := sizes()) == {}:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found["VmHWM"]


def start_peak() -> None:
    """Give freed memory back to the system, and let :func:`peak` start from here."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
