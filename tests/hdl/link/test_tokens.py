"""Tokens on the link: each bit of a token that a tile can choose."""

import numpy as np
import pytest

from marey.hdl.spec.isa import Reduce
from marey.hdl.spec.packing import pack_mem
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import issue_cycles
from marey.sim import verilator
from tests import configs
from tests.configs import op
from tests.machines import Machines


@pytest.mark.parametrize("config", configs.EACH_KIND, ids=lambda config: config.name)
def test_each_bit_of_a_token(compiler, config):
    """The largest of all values in MEM is chosen, wherever it is."""
    values = config.granules * config.lanes
    inner = next(count for count in (64, 32, 16) if config.granules % count == 0)
    choose = op(config, "VXM", inner=inner, middle=config.granules // inner, x_step=1, reduce=Reduce.ARGMAX)
    program = [choose, op(config, "NOP", config.granules + 40 - issue_cycles(config, choose)), op(config, "TOKEN"),
               op(config, "HALT")]
    machines = Machines(config, verilator.open_tile(config, checked=True))
    for bit in range(values.bit_length() - 1):
        for largest in (1 << bit, (1 << bit) - 1):
            memory = np.full(values, -5, np.int16)
            memory[largest] = 9
            for link in (machines.rtl, machines.model):
                link.write(Space.MEM, 0, pack_mem(config, memory))
            _, tokens = machines.run(program, count=1)
            assert tokens == [largest]
    machines.close()
