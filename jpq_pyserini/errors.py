"""The one exception type for bad input."""


class JPQError(ValueError):
    """Bad input or a bad file: one line that names the value, the place and the remedy.

    Command lines print the line and exit with status 1; a traceback would mean a bug of ours.
    """
