"""The VXM: each beat's operands asked for, each value written and each reduction made, in its cycle; as the emulator has it."""

import cocotb
import numpy as np

from marey.hdl.sequencer import Sequencer
from marey.hdl.spec.chained import inner_beats
from marey.hdl.spec.command import command_layout
from marey.hdl.spec.isa import Address, Function, Isa, Op, Reduce, Then, To, functions
from marey.hdl.timing import Issue, Kind, uses, vxm_parts
from marey.hdl.vxm import Vxm
from marey.sim.emulator import EmulatedTile
from tests.cocotb.common import CONFIG, begin, command, cycle, lanes, rng, settle, signed

ISA = Isa(CONFIG)
LAYOUT = command_layout(CONFIG, Op.VXM)
BEATS, LANES = CONFIG.beats_per_result, CONFIG.lanes
HALF = CONFIG.scalars // 2


class Bench:
    """Drives the MXM's stream, MEM's answers and the scalars, and checks what leaves against an emulated tile."""

    def __init__(self, dut, random):
        generator = np.random.default_rng(random.randrange(1 << 30))
        self.dut, self.random, self.now = dut, random, 0
        self.tile = EmulatedTile(CONFIG)
        self.tile.mem[:] = generator.integers(-32768, 32768, len(self.tile.mem))
        self.tile.scalars[1:, 0] = generator.integers(0, 32768, CONFIG.scalars - 1)
        self.tile.scalars[1:, 1] = generator.integers(-5, 20, CONFIG.scalars - 1)
        self.position, self.token = random.randrange(40), random.randrange(1000)
        dut.position.value, dut.token.value = self.position, self.token
        self.stream, self.writes, self.scalars = {}, {}, {}

    def command(self, operands):
        """Puts a command on the port in this cycle, notes what must come of it, and returns when the next may come."""
        instruction = ISA.make(Op.VXM, **operands)
        resolved = {name: value.offset if isinstance(value, Address) else value for name, value in instruction.operands.items()}
        period = resolved["middle"] * max(resolved["interval"], resolved["inner"]) + self.random.randrange(3)
        self.dut.command.value = command(LAYOUT, resolved | {"period": period})
        issue = Issue(self.now - Sequencer.latency(CONFIG, Op.VXM), 0, instruction, resolved, period, self.position, self.token)
        found = uses(CONFIG, issue)
        granules = []
        for at in next((use.cycles for use in found if use.unit == "stream"), []):
            most = 1 << CONFIG.accumulator_bits - 1
            x = [self.random.choice([-most, most - 1, self.random.randrange(-most, most),
                                     self.random.randrange(-5000, 5000)]) for _ in range(LANES)]
            self.stream[int(at)] = x
            granules.append(np.array(x, np.int64))
        memory, scalars = self.tile.mem.copy(), self.tile.scalars.copy()
        parts = vxm_parts(CONFIG, issue)
        for number, part in enumerate(parts):
            self._expect({use.unit: use for use in found if use.chained == bool(number)}, part,
                         granules if part.operands["stream"] else [], len(parts) > 1)
        self.tile.mem[:], self.tile.scalars[:] = memory, scalars
        found = {use.unit: use for use in found}
        engine = next(use for unit, use in found.items() if unit.facts.kind is Kind.ENGINE)
        return int(engine.cycles[-1]) - self.now

    def _expect(self, found, part, granules, kept):
        """Notes what a part of an instruction must write, and when. `kept`: it is read once more, so MEM must keep it."""
        written = []
        self.tile._write = lambda issue, to, dst, result: written.append((to, dst, result))
        self.tile._vxm_part(part, granules)
        # A part whole, or its rounds.
        to, dst, result = written[0][0], *(np.concatenate(parts) for parts in list(zip(*written, strict=True))[1:])
        if to is not To.NOWHERE:
            at = found.get("mem.write") or found.get("wram.keys") or found["wram.values"]
            late = 0 if to is To.MEM else 1
            for when, address, values in zip(at.cycles, dst.ravel(), result.reshape(-1, LANES), strict=True):
                self.writes[int(when) - late] = (to.value, int(address), values.tolist(), kept)
                if kept:
                    self.tile.mem.reshape(-1, LANES)[address] = values
        if "scalar.reduced" in found:
            use = found["scalar.reduced"]
            for when, address in zip(use.cycles, use.addresses, strict=True):
                self.scalars[int(when)] = (int(address), int(self.tile.scalars[address, 0]))

    async def step(self):
        """One cycle: what MEM, the scalars and the MXM give, and what leaves."""
        dut, granules = self.dut, self.tile.mem.reshape(-1, LANES)
        asked = [getattr(dut, f"{name}_address").value.to_unsigned() for name in ("x", "y", "scalar")]
        await cycle(dut)
        self.now += 1
        dut.command.value = 0
        for name, address in zip("xy", asked, strict=False):
            values = granules[address % CONFIG.granules]
            getattr(dut, name).value = sum((int(v) & 0xFFFF) << 16 * lane for lane, v in enumerate(values))
        value, exponent = (int(part) for part in self.tile.scalars[asked[2] % CONFIG.scalars])
        dut.scalar.value = (value & 0xFFFF) | (exponent & 0xFF) << 16
        x = self.stream.pop(self.now, None)
        dut.valid.value = int(x is not None)
        bits = CONFIG.accumulator_bits
        dut.granule.value = sum((v & (1 << bits) - 1) << bits * lane for lane, v in enumerate(x or []))
        write = dut.write.value.to_unsigned()
        to, address = write & 3, write >> 2 & (1 << ISA.command(Op.VXM)["dst"].width) - 1
        wanted = self.writes.pop(self.now, None)
        assert (to != 0) == (wanted is not None), self.now
        if wanted:
            assert (to, address) == wanted[:2], self.now
            assert lanes(write >> 2 + ISA.command(Op.VXM)["dst"].width, LANES, 16) == wanted[2], self.now
            if wanted[3]:
                granules[address] = wanted[2]
        wanted = self.scalars.pop(self.now, None)
        assert (dut.reduced.value == 1) == (wanted is not None), self.now
        if wanted:
            assert dut.reduced_into.value.to_unsigned() == wanted[0], self.now
            assert signed(dut.reduced_value.value.to_unsigned(), 32) == wanted[1], self.now


def draw_chained(random):
    """Any legal operands with `then`, at addresses that stay in MEM."""
    then = random.choice(list(Then)[1:])
    results = random.choice((1, 2)) if then is Then.TURN else 1
    dst, beats = random.randrange(0, 64, 4 * results), inner_beats(CONFIG, then)
    turned = {"x_hop": results - 1, "y_hop": random.randrange(16, 24, results)} if then is Then.TURN else {}
    squares = {"reduce": Reduce.SUM, "into": random.randrange(1, HALF)} if then is Then.SQUARES else {}
    return {
        "stream": 1, "by_vector": 1, "plus": random.randrange(2), "then": then, "x": dst, "dst": dst, "x_step": 1,
        "inner": beats,
        "middle": results * random.randrange(1, 4), "interval": beats + random.randrange(4), "y": random.randrange(128, 180),
        "y_step": random.randrange(2), "shift": random.randrange(-10, 48), "bare": random.randrange(2), "to": To.MEM,
        "scalar": random.choice((0, HALF)), **turned, **squares}


def draw(random, engine=0):
    """Any legal operands, at addresses that stay in MEM."""
    if CONFIG.chained and random.randrange(2):
        return draw_chained(random)
    stream, plus = random.randrange(2), random.randrange(2)
    pair = 0 if stream else random.randrange(2)
    by_vector = random.randrange(2) if stream or not plus or pair else 0
    plus = plus if stream or not by_vector else 0
    inner = random.randrange(1, 4) * (2 if pair else 1)
    reduce = random.choice([Reduce.NONE, Reduce.MAX, Reduce.ABSMAX, Reduce.SUM, Reduce.PICK])
    # What an instruction reduces it does not multiply by.
    scalar = random.randrange(0 if reduce is Reduce.NONE else HALF, CONFIG.scalars - 2)
    return ({"engine": engine} if CONFIG.engines > 1 else {}) | {
        "stream": stream, "plus": plus, "pair": pair, "by_vector": by_vector,
        "function": Function.MULTIPLY if pair or stream else random.choice(list(functions(CONFIG))),
        "x": random.randrange(16) & -2, "y": random.randrange(16), "dst": random.randrange(20), "inner": inner,
        "middle": random.randrange(1, 3), "outer": random.randrange(1, 3), "interval": inner + random.randrange(3),
        "paced": random.randrange(2), "x_step": 0 if pair and LANES == 1 else random.randrange(2),
        "y_step": random.randrange(2),
        "x_hop": random.randrange(3) * 2, "y_hop": random.randrange(3), "dst_hop": random.randrange(8),
        "shift": random.randrange(-10, 48), "narrow": random.randrange(2), "bare": random.randrange(2),
        "to": random.choice(list(To)),
        "mask": random.randrange(2), "scalar": scalar, "scalar_hop": random.randrange(2),
        "reduce": reduce, "into": random.randrange(1, HALF - 2) if reduce is not Reduce.NONE else 0,
    }


@cocotb.test()
async def values_and_cycles(dut):
    """Instructions one after another on both engines, some without a pause."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    for turn in range(150):
        last = bench.command(draw(random, turn % 2))
        await settle()
        assert dut.overrun.value == 0
        for _ in range(last + random.choice([0, 0, 1, 9])):
            await bench.step()
            assert dut.meeting.value == 0
    while bench.writes or bench.scalars:
        await bench.step()


@cocotb.test()
async def the_likeliest_is_chosen(dut):
    """ARGMAX: the index of the largest value, of equals the first."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    for high in (3, 1000):
        bench.tile.mem[:] = np.random.default_rng(high).integers(-high, high, len(bench.tile.mem))
        for x in (0, 5):
            last = bench.command({"x": x, "x_step": 1, "inner": 20, "reduce": Reduce.ARGMAX})
            for _ in range(last + Vxm.reduce_latency(CONFIG) + 2):
                await bench.step()
            assert dut.chosen.value.to_unsigned() == int(bench.tile.mem[x * LANES:(x + 20) * LANES].argmax())


@cocotb.test()
async def broken_promises_show(dut):
    """A granule that does not come, one that is not taken, two beats at once, a command too early."""
    await begin(dut)
    bench = Bench(dut, rng())
    streaming = {"stream": 1, "inner": 4}
    bench.command(streaming)
    bench.stream.clear()
    await bench.step()
    await bench.step()
    assert dut.starved.value == 1
    bench.command(streaming)
    await settle()
    assert dut.overrun.value == 1
    bench.writes.clear()
    dut.rst.value = 1
    await cycle(dut)
    dut.rst.value = 0
    dut.command.value = 0
    dut.valid.value = 1
    await settle()
    assert dut.dropped.value == 1
