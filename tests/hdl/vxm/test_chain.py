"""The chain: every beat of a turn, for every `then`, against the two instructions that it stands for."""

import pytest
from amaranth.sim import Simulator

from marey.hdl.spec.chained import inner_beats
from marey.hdl.spec.isa import Then
from marey.hdl.vxm.chain import Chain
from tests.configs import CONFIGS

CONFIG = CONFIGS[7]
STREAM, PAUSE = range(1, 5), range(5, 8)


@pytest.mark.parametrize("then", Then)
def test_each_beat_of_a_turn(then):
    """Where x and y are, whether there is a beat, and which part it belongs to."""
    chain, found = Chain(CONFIG), []

    async def bench(context):
        for first in (48, 52):
            context.set(chain.then, then)
            context.set(chain.x, first)
            context.set(chain.y, 100)
            context.set(chain.last, 1)
            context.set(chain.table, 24)
            for number in range(1, inner_beats(CONFIG, then) + 1):
                context.set(chain.number, number)
                await context.delay(1e-9)
                found.append((first, number, context.get(chain.pause), context.get(chain.chained), context.get(chain.second),
                              context.get(chain.x_address), context.get(chain.y_address)))

    simulator = Simulator(chain)
    simulator.add_testbench(bench)
    simulator.run()
    for first, number, pause, chained, second, x, y in found:
        value, pair = number - 8, number - 8 >> 1
        if then is Then.NOTHING:
            assert (pause, chained, second, x, y) == (0, 0, 0, first, 100)
        elif number in STREAM:
            assert (pause, chained, second, x, y) == (0, 0, 0, first + number - 1, 100)
        elif number in PAUSE:
            assert (pause, chained) == (1, 0)
        elif then is Then.TURN:
            # The table begins at granule 8 * 24; a head has two results, the second of which begins at an odd multiple of 4.
            rotation = 8 * 24 + 8 * (first // 4 % 2) + value
            assert (pause, chained, second, x, y) == (0, 1, value % 2, first + (pair ^ value % 2), rotation)
        else:
            assert (pause, chained, second, x, y) == (0, 1, 0, first + value, first + value)
