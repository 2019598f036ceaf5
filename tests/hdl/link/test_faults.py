"""The count of refused frames: each of its 16 bits, on both kinds of tile."""

import numpy as np
import pytest

from marey.hdl.spec.protocol import Opcode, Register, Status
from marey.sim import verilator
from tests import configs
from tests.hdl.link.test_link import frame, register, status


@pytest.mark.parametrize("config", configs.EACH_KIND, ids=lambda config: config.name)
def test_each_fault_is_counted(compiler, config):
    """32,768 frames with a wrong sequence number, one right behind the other; the count is read at each power of 2."""
    with verilator.open_tile(config, checked=True) as tile:
        sent = 0
        for bit in range(16):
            tile.send(frame(Opcode.RESET, 0))
            assert status(tile) is Status.OK
            more = (1 << bit) - sent
            tile.send(np.tile(frame(Opcode.WAIT, 99), more))
            answers = tile.receive(3 * more).reshape(-1, 3)
            assert {Status(int(word >> 16 & 0xFF)) for word in answers[:, 0]} == {Status.SEQUENCE}
            sent += more
            assert register(tile, 1, Register.LINK_FAULTS) == sent
