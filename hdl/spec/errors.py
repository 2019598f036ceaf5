"""The base of all errors that a user can correct."""


class MareyError(Exception):
    """An error that a user can correct.

    Its message is one line that says what was expected and what was found.

    `exit_code` is the exit status of the command line: 2 for bad usage or input, 1 (in subclasses)
    for a failed run.
    """

    exit_code = 2
