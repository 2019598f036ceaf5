"""The MXM: every granule's value, in its cycle, at full rate."""

import cocotb
import numpy as np

from marey.hdl.mxm import Mxm
from marey.hdl.mxm.beats import Beats
from marey.hdl.spec.command import command_layout
from marey.hdl.spec.isa import Instruction, Op, To
from marey.hdl.spec.packing import pack_wram
from marey.hdl.spec.ports import VxmWrite
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import Issue, beats, mxm_addresses, mxm_interval
from tests.cocotb.common import CONFIG, begin, command, cycle, host_write, lanes, rng, settle

LAYOUT = command_layout(CONFIG, Op.MXM)
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
        self.dut.command.value = command(LAYOUT, operands)
        act, wgt = mxm_addresses(CONFIG, operands)
        issue = Issue(0, 0, Instruction(Op.MXM), operands, operands["period"])
        cycles = self.now + Beats.latency(CONFIG) + beats(issue, mxm_interval(CONFIG, operands))
        for rounds in range(operands["outer"]):
            for turn in range(operands["middle"]):
                a, w, last = act[rounds, turn], wgt[rounds, turn], int(cycles[rounds, turn, -1])
                sums = np.einsum("ir,icr->c", self.x[a].astype(int), self._weights(operands, w))
                for granule in range(CONFIG.beats_per_result):
                    part = sums[granule * CONFIG.lanes:(granule + 1) * CONFIG.lanes]
                    self.expected[last + Mxm.latency(CONFIG) + granule] = part.tolist()
        return int(cycles[-1, -1, -1]) - self.now

    def _weights(self, operands, words):
        """The weights that the beats of a result meet: int [beats, cols, rows]."""
        weights = self.weights[words].astype(int)
        if not operands.get("wide"):
            return weights
        if CONFIG.paired:
            half, other = CONFIG.rows // 2, self.weights[words + 1].astype(int)
            low = np.concatenate([weights[..., :half], other[..., half:]], axis=-1)
            return (low & 15) + 16 * np.concatenate([weights[..., half:], other[..., :half]], axis=-1)
        weights[0::2] &= 15
        weights[1::2] *= 16
        return weights

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
            assert lanes(self.dut.granule.value.to_unsigned(), CONFIG.lanes, CONFIG.accumulator_bits) == wanted, self.now

    async def finish(self):
        while self.expected:
            await self.step()
        for _ in range(5):
            await self.step()


def product(**operands):
    """A command's operands: those that are not given are neutral."""
    neutral = {name: int(name in ("inner", "middle", "outer", "wrap", "period")) for name, _ in LAYOUT["operands"].shape}
    return neutral | operands


def draw(random):
    inner, middle, outer = random.randrange(1, 7), random.randrange(1, 4), random.randrange(1, 4)
    word, weight, paced = CONFIG.mem_depth, CONFIG.wram_depth, random.randrange(2)
    wide = {"wide": random.randrange(2)} if CONFIG.wide_words > 1 else {}
    inner *= CONFIG.wide_beats if any(wide.values()) else 1
    row = max(inner, CONFIG.beats_per_result) * middle
    return product(**wide, act=random.randrange(word), wgt=random.randrange(weight), inner=inner, middle=middle,
                   outer=outer, wgt_step=random.choice([inner, 0]), act_hop=random.randrange(word),
                   wgt_hop=random.randrange(5), wrap=random.randrange(1, 4), paced=paced, period=row + random.randrange(4))


def inside(operands):
    """The addresses are in the memories."""
    return all(addresses.max() < depth for addresses, depth in zip(
        mxm_addresses(CONFIG, operands), (CONFIG.mem_depth, CONFIG.wram_depth), strict=True))


@cocotb.test()
async def values_and_cycles(dut):
    """Products one after another, some without a pause between them."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    for _ in range(40):
        operands = draw(random)
        while not inside(operands):
            operands = draw(random)
        last = bench.command(operands)
        await settle()
        assert dut.overrun.value == 0
        # The next command may come in the cycle of this one's last beat, unless granules would meet.
        for _ in range(last + max(0, CONFIG.beats_per_result - 1) + random.choice([0, 0, 1, 10])):
            await bench.step()
    await bench.finish()


@cocotb.test()
async def the_largest_sums(dut):
    random = rng()
    await begin(dut)
    bench = Bench(dut, random, extreme=True)
    await bench.load()
    bench.command(product(inner=40))
    await bench.finish()


@cocotb.test()
async def a_beat_a_cycle(dut):
    """MEM is asked for a new word in every cycle of a product, from the first beat on."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    bench.command(product(act=3, inner=6, middle=2, wgt_step=6))
    asked = []
    for _ in range(1, Beats.latency(CONFIG)):
        await bench.step()
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
    bench.command(product(inner=8, middle=3, wgt_step=8))
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
    operands = product(inner=9)
    dut.command.value = command(LAYOUT, operands)
    await settle()
    assert dut.overrun.value == 0
    await cycle(bench.dut)
    await settle()
    assert dut.overrun.value == 1
    dut.command.value = 0


@cocotb.test()
async def words_are_fetched(dut):
    """The W-RAM words of one column come out themselves, granule by granule."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    parts = CONFIG.granules_per_word
    for token in range(CONFIG.cols):
        dut.token.value = token
        operands = product(wgt=7, outer=3, wgt_hop=2, wrap=3, fetch=1, paced=1, period=parts)
        dut.command.value = command(LAYOUT, operands)
        for number in range(3):
            first = bench.now + Beats.latency(CONFIG) + number * parts + Mxm.fetch_latency(CONFIG)
            for part, granule in enumerate(bench.weights[7 + 2 * number, token].reshape(parts, -1).tolist()):
                bench.expected[first + part] = granule
        # The token is looked at a cycle after the beat.
        for _ in range(3 * parts + Beats.latency(CONFIG)):
            await bench.step()
    await bench.finish()


@cocotb.test()
async def keys_and_values_become_weights(dut):
    """A key goes to the column of its position, a value to its row of all; the host's words wait and arrive."""
    random = rng()
    await begin(dut)
    bench = Bench(dut, random)
    await bench.load()
    layout, limit = VxmWrite(CONFIG), LIMIT
    for _ in range(60):
        position, to = random.randrange(200), random.choice([To.KEYS, To.VALUES])
        values = [random.randrange(-limit, limit) << 4 * CONFIG.paired | random.getrandbits(4 * CONFIG.paired)
                  for _ in range(CONFIG.lanes)]
        parts = CONFIG.granules_per_word if to is To.KEYS else CONFIG.beats_per_result
        word, part = random.randrange(20), random.randrange(parts)
        dut.position.value = position
        dut.cache.value = layout.const({"to": to, "address": word * parts + part, "values": values}).as_value().value
        await settle()
        assert dut.hold.value == 1
        await bench.step()
        dut.cache.value = 0
        # Places of the values: columns, and rows.
        lanes = np.arange(part * CONFIG.lanes, (part + 1) * CONFIG.lanes)
        column, row = (position % CONFIG.cols, lanes) if to is To.KEYS else (lanes, position % CONFIG.rows)
        word *= CONFIG.wide_words  # of a pair, the word of the low halves
        if CONFIG.paired:
            half = CONFIG.rows // 2
            word = word + row // half
            bench.weights[word, column, (row + half) % CONFIG.rows] = np.array(values) >> 4
            values = np.array(values) << 4 & 0xF0
            values = values.astype(np.int8) >> 4
        bench.weights[word, column, row] = values
        await bench.step()
    bench.command(product(inner=10, middle=2, wgt_step=10))
    await bench.finish()
