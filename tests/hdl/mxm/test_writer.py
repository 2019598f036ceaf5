"""W-RAM's write side: the host's words all arrive, in order, whatever keys and values come between them."""

from random import Random

import pytest
from amaranth.sim import Simulator

from marey.hdl.mxm.writer import WramWriter
from marey.hdl.spec.isa import To
from marey.hdl.spec.protocol import Space, parts
from tests.configs import CONFIGS


def _word(config, enable, stored):
    """(0, or 1 for the second word of a pair; its weights), from the rows that are written and a word of the memory."""
    rows, half = config.rows, config.rows // 2
    if not config.paired:
        assert enable == (1 << rows) - 1
        return 0, stored
    octets = stored.to_bytes(rows, "little")
    word = [(1 << half) - 1, (1 << half) - 1 << half].index(enable)
    places = [(row, row // half == word) for row in range(rows)]
    weights = [octets[row] & 15 if own else octets[(row + half) % rows] >> 4 for row, own in places]
    return word, sum(weight << 4 * row for row, weight in enumerate(weights))


@pytest.mark.parametrize("config", [config for config in CONFIGS if config.wram_ports == 2], ids=lambda config: config.name)
@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_no_word_is_lost(config, density):
    """The host sends a word in every cycle in which it may, and keys take any other."""
    writer, random = WramWriter(config), Random(density)
    size, count = parts(config.rows * config.weight_bits), 60
    sent = [[random.getrandbits(32) for _ in range(size)] for _ in range(count)]
    written = []

    async def host(ctx):
        words = [(entry * size + part, word) for entry, content in enumerate(sent) for part, word in enumerate(content)]
        ctx.set(writer.host.space, Space.WRAM)
        for _ in range(40 * count * size):
            if len(written) == count:
                break
            caching = random.random() < density
            ctx.set(writer.cache.to, To.KEYS if caching else To.NOWHERE)
            write = bool(words) and not ctx.get(writer.hold)
            ctx.set(writer.host.write, write)
            if write:
                address, word = words.pop(0)
                ctx.set(writer.host.address, address)
                ctx.set(writer.host.data, word)
            await ctx.tick()
            enable = [ctx.get(rows) for rows in writer.write.enable]
            if any(enable) and not caching:
                column = next(index for index, rows in enumerate(enable) if rows)
                assert sum(map(bool, enable)) == 1
                word, content = _word(config, enable[column], ctx.get(writer.write.data[column]))
                number = ctx.get(writer.write.address) * (1 + config.paired) + word
                written.append((number * config.cols + column, content))

    simulator = Simulator(writer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.run()
    mask = (1 << config.rows * config.weight_bits) - 1
    assert written == [(entry, sum(word << 32 * part for part, word in enumerate(content)) & mask)
                       for entry, content in enumerate(sent)]
