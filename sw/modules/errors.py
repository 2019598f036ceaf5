"""The errors of the compilation of PyTorch modules."""

from ...hdl.spec.errors import MareyError


class ModuleError(MareyError):
    """A module cannot be compiled: the message names the place in it, and what was expected."""
