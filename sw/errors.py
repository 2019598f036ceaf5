"""The errors and warnings of the readers of files."""

from ..hdl.spec.errors import MareyError


class FormatError(MareyError):
    """A file is not what it should be. One line: the file, what was expected, what was found."""


class ValuesError(FormatError):
    """The weights of a model that is read well have values of which nothing can be computed."""


class FormatWarning(UserWarning):
    """A file is read, but not all of it is used. One line: the file, and what is left out."""
