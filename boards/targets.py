"""What `marey fit` tries a model on: every preset, and every board."""

from ..hdl.spec.config import PRESETS
from ..sw.views.fit import Target
from .records import costs


def targets() -> list[Target]:
    """Every preset, at the clock that `make cost` recorded for it, then every board, at its own
    clock.

    Without the optional extra `boards`, the presets alone.
    """
    clock_hz = {name: cost["clock_mhz_met"] * 1e6 for name, cost in costs().items()}
    presets = [Target(config.name, config, clock_hz.get(config.name)) for config in PRESETS.values()]
    try:
        # Here, and not above, because amaranth-boards is in the optional extra `boards`.
        from .all import BOARDS
    except ModuleNotFoundError:
        return presets
    return presets + [Target(board.name, board.tile, board.clock_hz, board.baud) for board in BOARDS.values()]
