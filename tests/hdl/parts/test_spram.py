"""A memory with one port: parts of words are written, words are read a cycle later."""

from random import Random

from amaranth.sim import Simulator

from marey.hdl.parts.spram import SinglePortRam


def test_reads_and_writes_in_any_order():
    ram, random = SinglePortRam(width=16, depth=20, grain=4), Random(1)
    content = [[None] * 4 for _ in range(20)]

    async def user(ctx):
        for _ in range(600):
            address, mask, data = random.randrange(20), random.choice([0, random.getrandbits(4)]), random.getrandbits(16)
            ctx.set(ram.address, address)
            ctx.set(ram.write, mask)
            ctx.set(ram.write_data, data)
            await ctx.tick()
            if mask == 0:
                found = ctx.get(ram.data)
                assert all(part in (None, found >> 4 * index & 15) for index, part in enumerate(content[address]))
            for index in range(4):
                if mask >> index & 1:
                    content[address][index] = data >> 4 * index & 15

    simulator = Simulator(ram)
    simulator.add_clock(1e-6)
    simulator.add_testbench(user)
    simulator.run()
    assert all(None not in word for word in content)
