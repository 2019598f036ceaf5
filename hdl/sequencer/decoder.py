"""The decoder: executes an issued instruction."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.multiply import multiply
from ..spec.command import begin_layout, command_layout, slices
from ..spec.config import Config
from ..spec.isa import FACTOR_BITS, POSITION_BITS, MxmBlocks, Op, Source, VxmBlocks, isa_of

ADDRESSES = {Op.MXM: ("act", "wgt"), Op.VXM: ("x", "y", "dst"), Op.SFU: (), Op.MOVE: ("far", "near")}
SCALED = {Op.MXM: (("inner", MxmBlocks.INNER), ("middle", MxmBlocks.MIDDLE)),
          Op.VXM: (("interval", VxmBlocks.INTERVAL), ("middle", VxmBlocks.MIDDLE)), Op.SFU: (), Op.MOVE: ()}
"""Operands that are resolved, by operation: the n-th address by adder n, the n-th count by shifter n."""


class Decoder(wiring.Component):
    """Executes an issued instruction: registers, loop counters, commands of the slices.

    The operands of the slices lie over each other in an instruction, and so do those that are
    resolved here. So three adders for addresses and two shifters for counts serve all operations,
    and one register keeps what needs no resolving.

    Latency: `halt` in the same cycle; jumps and commands in the next; INDEX and PERIOD
    `PRODUCT_CYCLES` + 1 later.
    Throughput: an instruction a cycle, but for those in `SLOW` of the sequencer.
    Cost: three adders, two shifters, a product of `Config.token_bits` x `FACTOR_STEP` bits in look-up tables.

    Parameters: `config`.

    Members (no flow control):
        `issued : In(1)`, `instruction : In(isa.layout)`: an instruction issues in this cycle
        `start : In(1)`, `begin : In(begin_layout(config))`: a run begins
        `chosen : In(config.token_bits)`: by the VXM's last ARGMAX
        `jump : Out(1)`, `target : Out`: continue there
        `halt : Out(1)`: the run is over
        `mxm : Out`, `vxm : Out`, `sfu : Out`, and `move : Out` if there is external memory: commands
            of the slices, with addresses and counts resolved
        `period : Out`, `position : Out`, `token : Out`: registers
        `blocks : Out`: blocks of the KV cache that the position fills
        `made : Out(1)`: the token is a new one, for one cycle
    """

    FACTOR_STEP = 6
    """Bits of a factor that one cycle multiplies by."""
    PRODUCT_CYCLES = FACTOR_BITS // FACTOR_STEP

    def __init__(self, config: Config):
        self._config = config
        self._isa = isa = isa_of(config)
        super().__init__({
            "issued": In(1),
            "instruction": In(isa.layout),
            "start": In(1),
            "begin": In(begin_layout(config)),
            "jump": Out(1),
            "target": Out(isa.operands[Op.LOOP]["target"].shape),
            "halt": Out(1),
            **{op.name.lower(): Out(command_layout(config, op)) for op in slices(config)},
            "period": Out(isa.count_bits),
            "blocks": Out(isa.count_bits),
            "position": Out(POSITION_BITS),
            "token": Out(config.token_bits),
            "chosen": In(config.token_bits),
            "made": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = Memory(shape=unsigned(self._isa.register_bits), depth=self._isa.registers, init=[])
        # The operands of the last instruction that issued.
        kept = Signal(self.instruction.operands.shape(), reset_less=True)
        with m.If(self.issued):
            m.d.sync += kept.eq(self.instruction.operands)
        m.d.sync += self.blocks.eq((self.position >> (self._config.block - 1).bit_length()) + 1)
        self._commands(m, kept, registers)
        self._steps(m)
        return m

    def _is(self, op):
        return self.instruction.op == op

    def _commands(self, m, kept, registers):
        """Tells the slices their operands, with registers and blocks resolved."""
        operands = self.instruction.operands
        numbers, valid, changed = self._resolve(m, registers)
        counts = []
        for place in range(2):
            given, in_blocks = Signal(self._isa.count_bits), Signal()
            for op in slices(self._config):
                if SCALED[op]:
                    name, blocks = SCALED[op][place]
                    with m.If(self._is(op)):
                        of_op = operands[op.name.lower()]
                        m.d.comb += [given.eq(of_op[name]), in_blocks.eq(of_op.blocks == blocks)]
            counts.append(Signal(self._isa.count_bits, reset_less=True))
            m.d.sync += counts[-1].eq(Mux(in_blocks, self.blocks << given[:2], given))
        for op in slices(self._config):
            command = getattr(self, op.name.lower())
            m.d.comb += command.valid.eq(valid[op])
            places = dict(zip(ADDRESSES[op], numbers, strict=False))
            places |= {name: count for (name, _), count in zip(SCALED[op], counts, strict=False)}
            for name, _ in self._isa.operands[op]:
                m.d.comb += command.operands[name].eq(places.get(name, kept[op.name.lower()][name]))
            if op is not Op.MOVE:
                m.d.comb += command.operands.period.eq(self.period)
        self._change(m, kept, registers, changed)

    def _address(self, m, place, base, offset):
        """Chooses the register and the offset that are resolved at a place."""
        operands = self.instruction.operands
        for op in slices(self._config):
            if place < len(ADDRESSES[op]):
                given = operands[op.name.lower()][ADDRESSES[op][place]]
                with m.If(self._is(op)):
                    m.d.comb += [base.eq(given.base), offset.eq(given.offset)]
        if place == 0:
            with m.If(self._is(Op.SET) | self._is(Op.ADD)):
                m.d.comb += [base.eq(Mux(self._is(Op.ADD), operands.add.register, 0)), offset.eq(operands.add.value)]

    def _resolve(self, m, registers):
        """Adds registers to offsets in the cycle of the issue, with an adder for each place.

        Returns the addresses, a cycle later; for each slice, whether its command is valid; and what
        SET and ADD write, in the cycle of the issue.
        """
        resolved, numbers, valid = [], [], {op: Signal(name=f"{op.name}_valid") for op in slices(self._config)}
        for place in range(3):
            read, offset = registers.read_port(domain="comb"), Signal(self._isa.register_bits)
            self._address(m, place, read.addr, offset)
            resolved.append(Signal(self._isa.register_bits))
            numbers.append(Signal(self._isa.register_bits, reset_less=True))
            m.d.comb += resolved[-1].eq(offset + read.data)
            m.d.sync += numbers[-1].eq(resolved[-1])
        m.d.sync += [signal.eq(self.issued & self._is(op)) for op, signal in valid.items()]
        return numbers, valid, resolved[0]

    def _change(self, m, kept, registers, changed):
        """Changes address registers and the period.

        SET and ADD write as soon as they are resolved. INDEX and PERIOD multiply first, and add in
        the cycle after that.
        """
        operands, period, bits = self.instruction.operands, kept.period, self.FACTOR_STEP
        index, steps = operands.index, Signal(self.PRODUCT_CYCLES + 1)
        of_period, factor = Signal(), Signal(max(POSITION_BITS, self._config.token_bits), reset_less=True)
        is_period, times = self._is(Op.PERIOD), Signal(FACTOR_BITS, reset_less=True)
        source = Mux(index.source == Source.TOKEN, self.token, self.position) >> index.right
        mask = Mux(index.bits == 0, ~0, (1 << index.bits) - 1)
        m.d.sync += [steps.eq(Cat(self.issued & (self._is(Op.INDEX) | is_period), steps)), times.eq(times << bits)]
        with m.If(self.issued):
            m.d.sync += [of_period.eq(is_period), factor.eq(Mux(is_period, self.blocks, source & mask)),
                         times.eq(Mux(is_period, operands.period.times, index.times))]
        # A cycle takes `FACTOR_STEP` bits of `times`, the highest first: that needs fewer adders.
        product = Signal(max(self._isa.register_bits, self._isa.count_bits), reset_less=True)
        m.d.sync += product.eq(Mux(steps[0], 0, product << bits) + multiply(factor, times[-bits:]))
        write, total = registers.write_port(), Signal(signed(self._isa.count_bits + 2))
        indexing = steps[-1] & ~of_period
        m.d.comb += [
            write.en.eq(indexing | (self.issued & (self._is(Op.SET) | self._is(Op.ADD)))),
            write.addr.eq(Mux(indexing, kept.index.register, self.instruction.operands.set.register)),
            write.data.eq(Mux(indexing, kept.index.value + product, changed)),
            total.eq(product[:self._isa.count_bits] + period.value),
        ]
        with m.If(steps[-1] & of_period):
            m.d.sync += self.period.eq(Mux(total < period.least, period.least, total))

    def _steps(self, m):
        """Decides where the program continues: loops, tokens, the end."""
        operands = self.instruction.operands
        # A loop's counter is the number of the turn that ends now, from 1 on.
        counters = Array(Signal(self._isa.count_bits, name=f"loop{i}", init=1) for i in range(self._isa.counters))
        counter, again, wanted = counters[operands.loop.counter], Signal(), Signal(POSITION_BITS)
        m.d.comb += again.eq(counter != operands.loop.count)
        m.d.sync += [self.jump.eq(0), self.made.eq(0), self.target.eq(operands.loop.target)]
        with m.If(self.issued):
            with m.Switch(self.instruction.op):
                with m.Case(Op.HALT):
                    m.d.comb += self.halt.eq(~operands.halt.if_prompt | (wanted == 0))
                with m.Case(Op.LOOP):
                    m.d.sync += [self.jump.eq(again), counter.eq(Mux(again, counter + 1, 1))]
                with m.Case(Op.TOKEN):
                    m.d.sync += [
                        self.token.eq(self.chosen), self.position.eq(self.position + 1), self.made.eq(1),
                        wanted.eq(wanted - 1), self.jump.eq(wanted != 1), self.target.eq(operands.token.target),
                    ]
                if self._config.memory:
                    with m.Case(Op.STEP):
                        m.d.sync += self.position.eq(self.position + operands.step.value)
        with m.If(self.start):
            m.d.sync += [
                self.token.eq(self.begin.token), self.position.eq(self.begin.position), wanted.eq(self.begin.count),
            ]
