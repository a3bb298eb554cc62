"""The one exception type for bad input, and what other libraries' exceptions become in its line."""


class JPQError(ValueError):
    """Bad input or a bad file: one line that names the value, the place and the remedy.

    Command lines print the line and exit with status 1; a traceback would mean a bug of ours.
    """


def reason_of(error: BaseException) -> str:
    """Return the first line of what an exception says, or its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
