"""The link's checksum: zlib's CRC-32, however many bits of a word are taken in a cycle."""

import zlib

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.parts.checksum import Checksum


@pytest.mark.parametrize("bits", [1, 8, 32])
@settings(max_examples=10, deadline=None)
@given(messages=st.lists(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=4), min_size=1, max_size=3))
def test_crc(bits, messages):
    dut = Checksum(bits)

    async def bench(ctx):
        for message in messages:
            for index, word in enumerate(message):
                ctx.set(dut.word, word)
                ctx.set(dut.first, index == 0)
                ctx.set(dut.step, 1)
                for part in range(32 // bits):
                    assert ctx.get(dut.last) == (part == 32 // bits - 1)
                    await ctx.tick()
                ctx.set(dut.step, 0)
                await ctx.tick()
            assert ctx.get(dut.crc) == zlib.crc32(b"".join(word.to_bytes(4, "little") for word in message))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
