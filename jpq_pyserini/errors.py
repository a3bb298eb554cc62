"""The one exception type for bad input, and what other libraries' exceptions become in its line."""


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
