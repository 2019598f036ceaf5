"""The VXM: each granule scaled, rounded, saturated, and written in its cycle."""

import cocotb
import numpy as np

from marey.hdl.integer import round_shift, saturate
from marey.hdl.isa import Isa, Op
from marey.hdl.sequencer import command_layout
from marey.hdl.vxm import Vxm
from tests.cocotb.common import CONFIG, begin, cycle, lanes, rng, settle

LAYOUT = command_layout(Isa(CONFIG), Op.VXM)
BEATS, LANES = CONFIG.beats_per_result, CONFIG.lanes


class Bench:
    """Drives the MXM's stream and MEM's answers, and checks every write."""

    def __init__(self, dut, random):
        generator = np.random.default_rng(random.randrange(1 << 30))
        self.dut, self.random, self.now = dut, random, 0
        self.factors = generator.integers(-32768, 32768, (CONFIG.granules, LANES))
        self.stream, self.writes = {}, {}

    def command(self, operands):
        self.dut.command.value = LAYOUT.const({"valid": 1, "operands": operands}).as_value().value
        first = self.now + Vxm.COMMAND_LATENCY
        for granule in range(operands["count"] * BEATS):
            beat = first + granule // BEATS * operands["interval"] + granule % BEATS
            x = [self.random.choice([-1 << 31, (1 << 31) - 1, self.random.randrange(-1 << 31, 1 << 31),
                                     self.random.randrange(-5000, 5000)]) for _ in range(LANES)]
            self.stream[beat + Vxm.STREAM_LATENCY] = x
            factor = self.factors[(operands["scale"] + granule) % CONFIG.granules]
            y = round_shift(np.array(x, np.int64) * factor, operands["shift"])
            y = saturate(y, 8 if operands["narrow"] else 16)
            self.writes[beat + Vxm.LATENCY] = ((operands["dst"] + granule) % CONFIG.granules, y.tolist())

    async def step(self):
        """One cycle: what MEM and the MXM give, and what is written."""
        address = self.dut.scale_address.value.to_unsigned()
        await cycle(self.dut)
        self.now += 1
        self.dut.command.value = 0
        self.dut.scale.value = sum((int(v) & 0xFFFF) << 16 * lane for lane, v in enumerate(
            self.factors[address % CONFIG.granules]))
        x = self.stream.pop(self.now, None)
        self.dut.valid.value = int(x is not None)
        self.dut.granule.value = sum((v & 0xFFFFFFFF) << 32 * lane for lane, v in enumerate(x or []))
        wanted = self.writes.pop(self.now, None)
        assert (self.dut.write_enable.value == 1) == (wanted is not None), self.now
        if wanted:
            assert self.dut.write_address.value.to_unsigned() == wanted[0], self.now
            assert lanes(self.dut.write_data.value.to_unsigned(), LANES, 16) == wanted[1], self.now


def draw(random):
    return {"scale": random.randrange(CONFIG.granules - 20), "dst": random.randrange(CONFIG.granules - 20),
            "count": random.randrange(1, 5), "interval": random.randrange(BEATS, BEATS + 5), "shift": random.randrange(48),
            "narrow": random.randrange(2)}


@cocotb.test()
async def values_and_cycles(dut):
    """Instructions one after another, some without a pause: shift and width change from one beat to the next."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    for _ in range(80):
        operands = draw(random)
        bench.command(operands)
        await settle()
        assert dut.overrun.value == 0
        for _ in range((operands["count"] - 1) * operands["interval"] + BEATS + random.choice([0, 0, 1, 9])):
            await bench.step()
    while bench.writes:
        await bench.step()


@cocotb.test()
async def broken_promises_show(dut):
    """A granule that does not come, one that is not taken, a command too early: each in its cycle."""
    await begin(dut)
    command = {"scale": 0, "dst": 0, "count": 2, "interval": BEATS + 3, "shift": 0, "narrow": 0}
    dut.command.value = LAYOUT.const({"valid": 1, "operands": command}).as_value().value
    await cycle(dut)
    dut.command.value = 0
    beats = {Vxm.COMMAND_LATENCY + Vxm.STREAM_LATENCY + result * command["interval"] + beat
             for result in range(2) for beat in range(BEATS)}
    for now in range(1, 30):
        dut.valid.value = int(now == 25)
        dut.command.value = LAYOUT.const({"valid": int(now == 4), "operands": command}).as_value().value
        await cycle(dut)
        # Outputs follow inputs within the cycle; these are the ones of cycle `now` + 1, with what was set in it.
        if now < 4:
            assert (dut.starved.value == 1) == (now + 1 in beats), now
        assert (dut.overrun.value == 1) == (now == 4), now
        assert (dut.dropped.value == 1) == (now == 25), now
