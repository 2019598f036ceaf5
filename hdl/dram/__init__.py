"""External memory: an engine that moves ranges between the tile and an SDRAM in cycles known beforehand."""

from .dram import Dram
from .engine import DramEngine
from .gather import Gather
from .pins import Pins
from .plan import Plan
from .scatter import Scatter

__all__ = ["Dram", "DramEngine", "Gather", "Pins", "Plan", "Scatter"]
