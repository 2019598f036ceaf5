"""The scalar registers, and the unit that computes with them."""

from .scalars import Scalars

__all__ = ["Scalars"]
