"""What the testbenches share: the configuration under test, packed ports, the host bus."""

import os
import random

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from marey.hdl.parts.host import HOST_READ_LATENCY
from tests.configs import BENCHED

CONFIG = BENCHED[int(os.environ.get("MAREY_CONFIG", "0"))]


async def begin(dut):
    """Starts the clock, with every input 0, and resets. Leaves just after a falling edge: inputs change there."""
    for handle in dut:
        name = handle._name
        if name in INPUTS(dut):
            handle.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


def INPUTS(dut):
    """Names of the design's inputs, from its Verilog."""
    if dut not in _inputs:
        from pathlib import Path

        from marey.hdl.verilog import ports

        _inputs[dut] = {port["name"] for port in ports(Path("design.v").read_text())
                        if port["direction"] == "input" and port["name"] != "clk"}
    return _inputs[dut]


_inputs = {}


async def cycle(dut):
    """To the middle of the next cycle, where outputs have settled and inputs may change."""
    await FallingEdge(dut.clk)


async def settle():
    """Until outputs follow inputs that have just changed, still in the same cycle."""
    await Timer(1, unit="ns")


def pack(layout, **fields):
    """A struct port's value."""
    return layout.const(fields).as_value().value


def command(layout, operands):
    """A command port's value, all operands at once."""
    return pack(layout, valid=1, operands=operands, **({"rows": ~0} if CONFIG.compact else {}))


def signed(value, bits):
    """An unsigned number as two's complement."""
    return value - (1 << bits) if value >> bits - 1 else value


def lanes(value, count, bits):
    """A packed vector as signed numbers."""
    return [signed(value >> index * bits & (1 << bits) - 1, bits) for index in range(count)]


def rng():
    """Draws that repeat with cocotb's seed."""
    return random.Random(random.randrange(1 << 30))


async def host_write(dut, space, address, words):
    """Writes link words over the host bus, one a cycle."""
    for offset, word in enumerate(words):
        dut.host__space.value = space.value
        dut.host__address.value = address + offset
        dut.host__data.value = int(word)
        dut.host__write.value = 1
        await cycle(dut)
    dut.host__write.value = 0
    await cycle(dut)
    await cycle(dut)


async def host_read(dut, space, address, count):
    """Reads link words over the host bus, each after exactly HOST_READ_LATENCY cycles, and the next strobe with it."""
    words = []
    dut.host__space.value = space.value
    for offset in range(count):
        dut.host__address.value = address + offset
        dut.host__read.value = 1
        await cycle(dut)
        dut.host__read.value = 0
        for _ in range(HOST_READ_LATENCY - 1):
            await cycle(dut)
        words.append(dut.host__read_data.value.to_unsigned())
    return words
