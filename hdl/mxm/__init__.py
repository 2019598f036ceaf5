"""MXM, the matrix unit: a systolic array with its weight memories."""

from .mxm import Mxm

__all__ = ["Mxm"]
