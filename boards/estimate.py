"""What a tile would take on an ECP5, estimated from the builds in builds.json without synthesis.

Multipliers and block RAMs follow from the configuration. Logic cells are a plane through the builds: so much for a tile,
for each multiply-accumulate, for each lane, and for external memory. There are few builds, of two sizes of the array, three
numbers of lanes and two with external memory, so `Estimate.lut_error` says how far the plane is from them, and a tile that
is much larger or smaller than those is an extrapolation.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import ceil

import numpy as np

from ..hdl.spec.config import PRESETS, Config
from ..hdl.spec.isa import isa_of
from .records import builds

WIDTHS = {16384: 1, 8192: 2, 4096: 4, 2048: 9, 1024: 18, 512: 36}
"""Bits of a word of a block RAM (DP16KD), by its words."""
PARTS = {"LFE5U-25F": (24_288, 56, 28), "LFE5U-45F": (43_848, 108, 72), "LFE5U-85F": (83_640, 208, 156)}
"""LUTs, block RAMs and multipliers of the devices, smallest first: ECP5 Family Data Sheet, FPGA-DS-02012."""
PRICES_USD = {"LFE5U-25F": 15.0, "LFE5U-45F": 25.0, "LFE5U-85F": 45.0}
"""What one piece of each device costs, in US dollars: assumed, in round numbers, and not looked up. Prices differ by
package, speed grade and number; `marey sweep --price` has others."""


@dataclass(frozen=True)
class Estimate:
    """Cells of a tile on an ECP5. `clock_mhz`: the slowest of the builds; `lut_error`: the largest deviation of the plane
    from a build, as a part of it; `part`: the smallest device with room, or None."""

    lut: int
    bram: int
    dsp: int
    clock_mhz: float
    lut_error: float
    part: str | None


def on_device(found: Estimate, device: str) -> Estimate:
    """The estimate for a tile on a device of `PARTS`: its part is the device, or None if it has no room."""
    cells = found.lut, found.bram, found.dsp
    room = all(needed <= most for needed, most in zip(cells, PARTS[device], strict=True))
    return replace(found, part=device if room else None)


def estimate(config: Config) -> Estimate | None:
    """The estimate for a configuration; None for a compact tile, of which there is no build for an ECP5."""
    if config.compact:
        return None
    plane, others, clock_mhz, error = _fitted()
    lut = round(_counted(config) @ plane)
    bram, dsp = _memories(config) + others, _multipliers(config)
    part = next((name for name, room in PARTS.items() if all(
        needed <= most for needed, most in zip((lut, bram, dsp), room, strict=True))), None)
    return Estimate(lut, bram, dsp, clock_mhz, error, part)


@cache
def _fitted() -> tuple[np.ndarray, int, float, float]:
    """(LUTs of each of `_counted`; block RAMs that `_memories` does not count; clock in MHz; error of the LUTs)."""
    known = [(PRESETS[build["config"]], build) for build in builds().values() if build["device"].startswith("LFE5U")]
    counted = np.stack([_counted(config) for config, _ in known])
    lut = np.array([build["resources"]["lut"] for _, build in known])
    plane, *_ = np.linalg.lstsq(counted, lut, rcond=None)
    error = float(np.abs(counted @ plane / lut - 1).max())
    others = round(float(np.median([build["resources"]["bram"] - _memories(config) for config, build in known])))
    return plane, others, min(build["clock_mhz_met"] for _, build in known), error


def _counted(config: Config) -> np.ndarray:
    """What of a tile takes LUTs, [4]: the tile itself, multiply-accumulates, lanes, and external memory."""
    return np.array([1, config.macs, config.lanes, config.memory is not None])


def _multipliers(config: Config) -> int:
    """One for each multiply-accumulate, two for each lane of the VXM."""
    return config.macs + 2 * config.lanes


def _memories(config: Config) -> int:
    """Block RAMs of W-RAM, of the copies of MEM, one for each port that reads it, of the program, and of a table in each
    lane."""
    bits = {"act": config.rows * 16, "x": config.lanes * 16, "y": config.lanes * 16}
    mem = sum(_blocks(window.depth, bits[port]) for port, window in config.windows.items())
    program = _blocks(config.program_depth, isa_of(config).width)
    return config.cols * _blocks(config.column_words, config.rows * config.column_bits) + mem + program + config.lanes


def _blocks(words: int, bits: int) -> int:
    """Block RAMs of a memory: as many as it takes in the best of the shapes that a block has."""
    return min(ceil(words / depth) * ceil(bits / width) for depth, width in WIDTHS.items())
