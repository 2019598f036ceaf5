"""External memory: an engine that moves ranges between the tile and an SDRAM in cycles known beforehand."""

from .engine import DramEngine
from .pins import Pins
from .plan import Plan

__all__ = ["DramEngine", "Pins", "Plan"]
