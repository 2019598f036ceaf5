"""VXM, the vector unit: lanes of arithmetic, functions and reductions."""

from .vxm import Vxm

__all__ = ["Vxm"]
