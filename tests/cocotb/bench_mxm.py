"""The MXM: every granule's value, in its cycle, at full rate."""

import cocotb
import numpy as np

from marey.hdl.isa import Isa, Op
from marey.hdl.mxm import Beats, Mxm
from marey.hdl.packing import pack_wram
from marey.hdl.protocol import Space
from marey.hdl.sequencer import command_layout
from marey.hdl.timing import mxm_beats
from tests.cocotb.common import CONFIG, begin, cycle, host_write, lanes, rng, settle

LAYOUT = command_layout(Isa(CONFIG), Op.MXM)
LIMIT = 1 << CONFIG.weight_bits - 1


class Bench:
    """Weights, activations, a model of MEM that answers a cycle after it is asked, and what should come out when."""

    def __init__(self, dut, random, extreme=False):
        generator = np.random.default_rng(random.randrange(1 << 30))
        self.dut, self.now, self.expected = dut, 0, {}
        self.weights = generator.integers(-LIMIT, LIMIT, (CONFIG.wram_depth, CONFIG.cols, CONFIG.rows)).astype(np.int8)
        self.x = generator.integers(-128, 128, (CONFIG.mem_depth, CONFIG.rows)).astype(np.int8)
        if extreme:
            self.weights[:], self.x[:] = -LIMIT, -128

    async def load(self):
        await host_write(self.dut, Space.WRAM, 0, pack_wram(CONFIG, self.weights))

    def command(self, operands):
        """Puts a command on the port in this cycle, and notes what must come of it."""
        layout = LAYOUT["operands"].shape
        self.dut.command.value = LAYOUT.const({"valid": 1, "operands": operands}).as_value().value
        act, wgt = mxm_beats(CONFIG, operands)
        assert set(operands) == {name for name, _ in layout}
        for result, (a, w) in enumerate(zip(act, wgt, strict=True)):
            sums = np.einsum("ir,icr->c", self.x[a].astype(int), self.weights[w].astype(int))
            last = self.now + Beats.LATENCY + (result + 1) * operands["inner"] - 1
            for granule in range(CONFIG.beats_per_result):
                part = sums[granule * CONFIG.lanes:(granule + 1) * CONFIG.lanes]
                self.expected[last + Mxm.latency(CONFIG) + granule] = part.tolist()

    async def step(self):
        """One cycle: answers MEM's port, and checks what comes out."""
        address = self.dut.act_address.value.to_unsigned() % CONFIG.mem_depth
        await cycle(self.dut)
        self.dut.command.value = 0
        self.dut.act.value = int.from_bytes(self.x[address].tobytes(), "little")
        self.now += 1
        valid, wanted = self.dut.valid.value == 1, self.expected.pop(self.now, None)
        assert valid == (wanted is not None), self.now
        if valid:
            assert lanes(self.dut.granule.value.to_unsigned(), CONFIG.lanes, 32) == wanted, self.now

    async def finish(self):
        while self.expected:
            await self.step()
        for _ in range(5):
            await self.step()


def draw(random):
    inner = random.randrange(CONFIG.beats_per_result, 7)
    outer = random.randrange(1, 5)
    word, weight = CONFIG.mem_depth, CONFIG.wram_depth
    act_step, wgt_step = random.choice([0, inner]), random.choice([inner, 0])
    return {"act": random.randrange(word - 7 * 5), "wgt": random.randrange(weight - 7 * 5), "inner": inner, "outer": outer,
            "act_step": act_step, "wgt_step": wgt_step}


@cocotb.test()
async def values_and_cycles(dut):
    """Products one after another, some without a pause between them."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    for _ in range(40):
        operands = draw(random)
        bench.command(operands)
        await settle()
        assert dut.overrun.value == 0
        # The next command may come in the cycle of this one's last beat, unless granules would meet.
        for _ in range(operands["inner"] * operands["outer"] + random.choice([0, 0, 1, 10])):
            await bench.step()
    await bench.finish()


@cocotb.test()
async def the_largest_sums(dut):
    random = rng()
    await begin(dut)
    bench = Bench(dut, random, extreme=True)
    await bench.load()
    bench.command({"act": 0, "wgt": 0, "inner": 40, "outer": 1, "act_step": 0, "wgt_step": 0})
    await bench.finish()


@cocotb.test()
async def a_beat_a_cycle(dut):
    """MEM is asked for a new word in every cycle of a product, from the first beat on."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    bench.command({"act": 3, "wgt": 0, "inner": 6, "outer": 2, "act_step": 0, "wgt_step": 6})
    asked = []
    for _ in range(12):
        await bench.step()
        asked.append(dut.act_address.value.to_unsigned())
    assert asked == [3, 4, 5, 6, 7, 8] * 2
    await bench.finish()


@cocotb.test()
async def weights_load_while_others_are_used(dut):
    """The host writes words that the product does not use, in every cycle of it."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    bench.command({"act": 0, "wgt": 0, "inner": 8, "outer": 3, "act_step": 0, "wgt_step": 8})
    words = len(pack_wram(CONFIG, bench.weights[:1])) // CONFIG.cols
    for offset in range(24):
        dut.host__space.value = Space.WRAM.value
        dut.host__address.value = 30 * CONFIG.cols * words + offset
        dut.host__data.value = 0xFFFFFFFF
        dut.host__write.value = 1
        await bench.step()
    dut.host__write.value = 0
    await bench.finish()


@cocotb.test()
async def a_command_too_early_is_an_overrun(dut):
    await begin(dut)
    bench = Bench(dut, rng())
    operands = {"act": 0, "wgt": 0, "inner": 9, "outer": 1, "act_step": 0, "wgt_step": 0}
    dut.command.value = LAYOUT.const({"valid": 1, "operands": operands}).as_value().value
    await settle()
    assert dut.overrun.value == 0
    await cycle(bench.dut)
    await settle()
    assert dut.overrun.value == 1
    dut.command.value = 0
