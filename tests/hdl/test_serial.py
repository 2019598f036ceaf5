"""The tile behind a serial line, as boards have it."""

from dataclasses import replace

import pytest

from marey.hdl.serial import SerialTile
from marey.hdl.spec.config import ConfigError, preset


def test_no_board_connects_external_memory_yet():
    config = replace(preset("ecp5_8x8"), sdram=1)
    with pytest.raises(ConfigError, match=r"^configuration 'ecp5_8x8': no board connects external memory yet"):
        SerialTile(config, 80e6, 1_000_000)
