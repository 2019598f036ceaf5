"""The error that a user can mend."""


class MareyError(Exception):
    """Something a user can mend; its message is one line that says what was expected and what was found.

    `exit_code` is the command line's: 2 for bad usage or input, 1 (in subclasses) for a run that failed.
    """

    exit_code = 2
