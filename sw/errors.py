"""The error of every reader."""

from ..hdl.spec.errors import MareyError


class FormatError(MareyError):
    """A file that is not what it should be: one line with what was expected and what was found."""
