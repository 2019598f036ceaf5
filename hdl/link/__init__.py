"""The link: frames from and to the host."""

from .link import Link

__all__ = ["Link"]
