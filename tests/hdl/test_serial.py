"""The tile behind a serial line, as boards have it."""

from dataclasses import replace

import pytest

from marey.hdl.serial import SerialTile
from marey.hdl.spec.config import ConfigError, preset


def test_external_memory_is_timed_by_the_clock():
    """A memory whose times were reckoned for a slower clock would be told commands too early."""
    config = replace(preset("ecp5_8x8"), sdram=1, sdram_mhz=80)
    with pytest.raises(ConfigError, match=r"^configuration 'ecp5_8x8': its external memory is timed for 80 MHz, and the clock "
                                          "has 100: set sdram_mhz$"):
        SerialTile(config, 100e6, 1_000_000)
