"""The one exception type for bad input, and what other libraries' exceptions become in its line."""

import errno
import re

#: What libraries say that have no exception of their own for it: torch, and CUDA.
_NO_MEMORY = re.compile(
    "can't allocate memory|out of memory|cannot allocate memory|Storage size calculation overflowed", re.I
)
_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "change its permissions, or name another",
    errno.EROFS: "name one on a disk that can be written to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "mend the symbolic link",
}


class JPQError(ValueError):
    """Bad input or a bad file: one line that names the value, the place and the remedy.

    Command lines print the line and exit with status 1; a traceback would mean a bug of ours.
    """


def reason_of(error: BaseException) -> str:
    """Return the first line of what an exception says, or its type if it says nothing."""
    return printable(str(error)) or type(error).__name__


def escaped(text: str) -> str:
    """Return a text on one line, with line breaks, characters that drive a terminal and lone surrogates as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def printable(text: str, longest: int = 300) -> str:
    """Return the first line of a text from elsewhere, cut, and without the control characters that drive a terminal."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def line_of(error: BaseException) -> str | None:
    """Return the line that a command ends with after an exception; None for one that would be a bug of ours."""
    if isinstance(error, JPQError):
        return escaped(str(error))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        reason = f" ({reason_of(error)})" if str(error) else ""
        return f"not enough memory{reason}: give smaller numbers or inputs, or use a larger machine"
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left while writing {escaped(str(error.filename or 'the output'))}: free some space and run again"
        )
    where = f"{error.filename}: " if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "check the path and the disk")
    return escaped(f"{where}{error.strerror or error}: {remedy}")
