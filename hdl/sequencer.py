"""The sequencer: one program counter that starts every slice at its appointed cycle."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config
from .fetch import Fetch
from .host import HostBus
from .isa import (
    ADDRESS_REGISTERS,
    FACTOR_BITS,
    POSITION_BITS,
    TOKEN_BITS,
    WAIT_BITS,
    Isa,
    MxmBlocks,
    Op,
    Source,
    VxmBlocks,
    isa_of,
)
from .multiply import multiply
from .protocol import ENTRY_BITS


def command_layout(isa: Isa, op: Op) -> data.StructLayout:
    """A slice's command port: `valid` for one cycle, and what to do. No flow control."""
    return data.StructLayout({"valid": 1, "operands": isa.command(op)})


Begin = data.StructLayout({"entry": ENTRY_BITS, "token": TOKEN_BITS, "position": POSITION_BITS, "count": POSITION_BITS})
"""What a run begins with: the first instruction, the token and its position, and how many tokens are wanted."""

SLICES = (Op.MXM, Op.VXM, Op.SFU)
SLOW = (Op.HALT, Op.INDEX, Op.PERIOD, Op.LOOP, Op.TOKEN)
"""Operations after which the next waits for what they decide: they take `Sequencer.slow_cycles`."""


class Sequencer(wiring.Component):
    """Program memory, loops, address registers, position and token, cycle counter; starts the slices.

    ::

        fetch --> instruction --> decode --> commands of the slices
          ^           issue: this cycle  | address registers, loop counters, position, period
          +------------------------------+ LOOP, TOKEN

    After `start` in cycle 0 the first instruction issues in cycle `first_issue(config)`; the one after an
    instruction that issued in cycle t issues in cycle t + `issue_cycles(config)` + wait, or, if that was one of `SLOW`, in
    t + `slow_cycles(config)` + wait. A slice sees its command `latency(config)` cycles after issue, and TOKEN looks at what was
    `chosen` `TOKEN_LATENCY` cycles after issue. A HALT that issued in cycle t ends the run: `cycles` is then
    t + `HALT_CYCLES`, the cycles in which `running` was 1.

    Members: `start`, `begin`: begin a run; `running`; `cycles`, of this run or the last; `mxm`, `vxm`, `sfu`:
    commands; `issuing`: an instruction issues in this cycle; `position`, `token`: of this step; `chosen`: by the VXM's
    last ARGMAX; `made`, for one cycle: the token is a new one; `host`: the link's way to the program memory, used only
    between runs.
    """

    HALT_CYCLES = 0
    TOKEN_LATENCY = 0

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from an issue to its command: addresses are resolved at once, or, where instructions take several fetches,
        one after another."""
        return 1 if config.fetches == 1 else 3

    @staticmethod
    def first_issue(config: Config) -> int:
        """Cycles from start to the first issue."""
        return Fetch.latency(config)

    @staticmethod
    def issue_cycles(config: Config) -> int:
        """Cycles from an issue to the next, without a wait."""
        return Fetch.interval(config) + Sequencer.latency(config) - 1

    @staticmethod
    def slow_cycles(config: Config) -> int:
        """The same of `SLOW` operations: a jump's fetch, or a product and its sum."""
        product = Decoder.product_cycles(config)
        return max(Fetch.latency(config) + 1, product + 2, product + Fetch.interval(config))

    def __init__(self, config: Config):
        self._config = config
        isa = isa_of(config)
        super().__init__({
            "start": In(1),
            "begin": In(Begin),
            "running": Out(1),
            "cycles": Out(32),
            "issuing": Out(1),
            "mxm": Out(command_layout(isa, Op.MXM)),
            "vxm": Out(command_layout(isa, Op.VXM)),
            "sfu": Out(command_layout(isa, Op.SFU)),
            "position": Out(POSITION_BITS),
            "token": Out(TOKEN_BITS),
            "chosen": In(TOKEN_BITS),
            "made": Out(1),
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = Fetch(self._config)
        m.submodules.decoder = decoder = Decoder(self._config)
        wiring.connect(m, wiring.flipped(self.host), fetch.host)
        instruction, issue = fetch.instruction, self.issuing
        # Cycles still to wait: `wait`, and `turns` periods; `waiting` is whether there are any. What follows a slow
        # operation is held up by `pause` first.
        wait, turns, waiting = Signal(WAIT_BITS), Signal(8), Signal()
        # An instruction stays until its command is made.
        short = self.latency(self._config) - 1
        pause = Signal(self.slow_cycles(self._config) - Fetch.interval(self._config))
        m.d.comb += issue.eq(self.running & fetch.ready & ~waiting & ~pause[0])
        m.d.sync += pause.eq(pause >> 1)
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(issue):
            nop, blocks = instruction.operands.nop, Signal(WAIT_BITS)
            is_nop = instruction.op == Op.NOP
            with m.If(is_nop & (nop.blocks != 0)):
                m.d.comb += blocks.eq((decoder.blocks << nop.blocks) >> 1)
            m.d.sync += [
                wait.eq(instruction.wait + blocks), turns.eq(Mux(is_nop, nop.turns, 0)),
                waiting.eq((instruction.wait != 0) | (is_nop & ((nop.turns != 0) | (nop.blocks != 0)))),
            ]
            with m.If(Cat(instruction.op == op for op in SLOW).any()):
                m.d.sync += pause.eq(~0)
            with m.Else():
                m.d.sync += pause.eq((1 << short) - 1)
        with m.Elif(waiting & fetch.ready & ~pause[0]):
            with m.If(wait != 0):
                m.d.sync += [wait.eq(wait - 1), waiting.eq((wait != 1) | (turns != 0))]
            with m.Else():
                m.d.sync += [
                    wait.eq(decoder.period - 1), turns.eq(turns - 1), waiting.eq((decoder.period != 1) | (turns != 1)),
                ]
        with m.If(decoder.halt):
            m.d.sync += self.running.eq(0)
        with m.If(self.start):
            m.d.sync += [self.running.eq(1), self.cycles.eq(0), waiting.eq(0), pause.eq(0)]

        m.d.comb += [
            fetch.running.eq(self.running), fetch.take.eq(issue), fetch.hold.eq(pause[0]),
            fetch.go.eq(self.start | decoder.jump), fetch.entry.eq(Mux(self.start, self.begin.entry, decoder.target)),
            decoder.issued.eq(issue), decoder.instruction.eq(instruction), decoder.start.eq(self.start),
            decoder.begin.eq(self.begin), decoder.chosen.eq(self.chosen),
            self.mxm.eq(decoder.mxm), self.vxm.eq(decoder.vxm), self.sfu.eq(decoder.sfu),
            self.position.eq(decoder.position), self.token.eq(decoder.token), self.made.eq(decoder.made),
        ]
        return m


ADDRESSES = {Op.MXM: ("act", "wgt"), Op.VXM: ("x", "y", "dst"), Op.SFU: ()}
SCALED = {Op.MXM: (("inner", MxmBlocks.INNER), ("middle", MxmBlocks.MIDDLE)),
          Op.VXM: (("interval", VxmBlocks.INTERVAL), ("middle", VxmBlocks.MIDDLE)), Op.SFU: ()}
"""Operands that are resolved; those of an adder, or a shifter, stand at its place."""


class Decoder(wiring.Component):
    """What an issued instruction does: registers, loop counters, commands.

    Latency: halt in the same cycle, jump in the next, commands as `Sequencer.latency` says, INDEX and PERIOD within
    the `slow_cycles`.

    The slices' operands lie over each other, and so do those that are resolved here: there are three adders for addresses,
    or one, and two shifters for counts, which serve all, and one register for what needs no resolving.

    Members: `issued`, `instruction`: from the sequencer; `start`, `begin`: a run begins; `jump`, `target`: continue
    there; `halt`; `mxm`, `vxm`, `sfu`: commands, addresses and counts resolved; `period`, `position`, `token`:
    registers; `blocks`, of the position; `chosen`, `made`: as in the sequencer.
    """

    @staticmethod
    def product_cycles(config: Config) -> int:
        """Cycles that a product takes."""
        return FACTOR_BITS // _factor_bits(config)

    def __init__(self, config: Config):
        self._config = config
        self._isa = isa = isa_of(config)
        super().__init__({
            "issued": In(1),
            "instruction": In(isa.layout),
            "start": In(1),
            "begin": In(Begin),
            "jump": Out(1),
            "target": Out(isa.operands[Op.LOOP]["target"].shape),
            "halt": Out(1),
            "mxm": Out(command_layout(isa, Op.MXM)),
            "vxm": Out(command_layout(isa, Op.VXM)),
            "sfu": Out(command_layout(isa, Op.SFU)),
            "period": Out(isa.count_bits),
            "blocks": Out(isa.count_bits),
            "position": Out(POSITION_BITS),
            "token": Out(TOKEN_BITS),
            "chosen": In(TOKEN_BITS),
            "made": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = Memory(shape=unsigned(self._isa.register_bits), depth=ADDRESS_REGISTERS, init=[])
        # Operands as they were issued, until the next are; where those take several fetches, these stay where they are.
        kept = self.instruction.operands
        if self._config.fetches == 1:
            kept = Signal(kept.shape(), reset_less=True)
            with m.If(self.issued):
                m.d.sync += kept.eq(self.instruction.operands)
        m.d.sync += self.blocks.eq((self.position >> (self._config.block - 1).bit_length()) + 1)
        self._commands(m, kept, registers)
        self._steps(m)
        return m

    def _is(self, op):
        return self.instruction.op == op

    def _commands(self, m, kept, registers):
        """What the slices are told has no registers and no blocks in it any more; SET, ADD and INDEX change registers."""
        operands = self.instruction.operands
        resolve = self._at_once if self._config.fetches == 1 else self._in_turn
        numbers, valid, change, changed = resolve(m, registers)
        counts = []
        for place in range(2):
            given, in_blocks = Signal(self._isa.count_bits), Signal()
            for op, names in SCALED.items():
                if names:
                    name, blocks = names[place]
                    with m.If(self._is(op)):
                        of_op = operands[op.name.lower()]
                        m.d.comb += [given.eq(of_op[name]), in_blocks.eq(of_op.blocks == blocks)]
            counts.append(Signal(self._isa.count_bits, reset_less=True))
            m.d.sync += counts[-1].eq(Mux(in_blocks, self.blocks << given[:2], given))
        for op in SLICES:
            command = getattr(self, op.name.lower())
            m.d.comb += command.valid.eq(valid[op])
            places = dict(zip(ADDRESSES[op], numbers, strict=False))
            places |= {name: count for (name, _), count in zip(SCALED[op], counts, strict=False)}
            for name, _ in self._isa.operands[op]:
                m.d.comb += command.operands[name].eq(places.get(name, kept[op.name.lower()][name]))
            m.d.comb += command.operands.period.eq(self.period)
        self._change(m, kept, registers, change, changed)

    def _address(self, m, place, base, offset):
        """The operand of the instruction that is resolved at a place: its register and its offset."""
        operands = self.instruction.operands
        for op, names in ADDRESSES.items():
            if place < len(names):
                given = operands[op.name.lower()][names[place]]
                with m.If(self._is(op)):
                    m.d.comb += [base.eq(given.base), offset.eq(given.offset)]
        if place == 0:
            with m.If(self._is(Op.SET) | self._is(Op.ADD)):
                m.d.comb += [base.eq(Mux(self._is(Op.ADD), operands.add.register, 0)), offset.eq(operands.add.value)]

    def _at_once(self, m, registers):
        """Addresses in the cycle of the issue, with an adder each. Returns them, when commands are valid, and when and what
        SET and ADD write."""
        resolved, numbers, valid = [], [], {op: Signal(name=f"{op.name}_valid") for op in SLICES}
        for place in range(3):
            read, offset = registers.read_port(domain="comb"), Signal(self._isa.register_bits)
            self._address(m, place, read.addr, offset)
            resolved.append(Signal(self._isa.register_bits))
            numbers.append(Signal(self._isa.register_bits, reset_less=True))
            m.d.comb += resolved[-1].eq(offset + read.data)
            m.d.sync += numbers[-1].eq(resolved[-1])
        m.d.sync += [signal.eq(self.issued & self._is(op)) for op, signal in valid.items()]
        return numbers, valid, self.issued, resolved[0]

    def _in_turn(self, m, registers):
        """Addresses one after another in the cycles after the issue, with one adder; the like of `_at_once`."""
        bits = self._isa.register_bits
        read, offset, resolved, turns = registers.read_port(), Signal(bits), Signal(bits), Signal(3)
        m.d.sync += turns.eq(Cat(self.issued, turns))
        m.d.comb += [read.en.eq(1), resolved.eq(offset + read.data)]
        bases, offsets, numbers = [], [], []
        for place in range(3):
            bases.append(Signal.like(read.addr, name=f"base{place}"))
            offsets.append(Signal(bits, name=f"offset{place}"))
            self._address(m, place, bases[-1], offsets[-1])
            numbers.append(Signal(bits, name=f"number{place}", reset_less=True))
        # A register is read in the cycle before its offset is added to it.
        m.d.comb += [read.addr.eq(bases[0]), offset.eq(offsets[0]), numbers[2].eq(resolved)]
        for place in (1, 2):
            with m.If(turns[place - 1]):
                m.d.comb += read.addr.eq(bases[place])
                m.d.sync += numbers[place - 1].eq(resolved)
            with m.If(turns[place]):
                m.d.comb += offset.eq(offsets[place])
        return numbers, {op: turns[2] & self._is(op) for op in SLICES}, turns[0], resolved

    def _change(self, m, kept, registers, change, changed):
        """SET and ADD write as soon as they are resolved; INDEX and PERIOD multiply first, and add in the cycle after that."""
        index, period, bits = self.instruction.operands.index, kept.period, _factor_bits(self._config)
        steps = Signal(self.product_cycles(self._config) + 1)
        of_period, factor = Signal(), Signal(POSITION_BITS, reset_less=True)
        slow = self._is(Op.INDEX) | self._is(Op.PERIOD)
        source = Mux(index.source == Source.TOKEN, self.token, self.position) >> index.right
        mask = Mux(index.bits == 0, ~0, (1 << index.bits) - 1)
        m.d.sync += steps.eq(Cat(self.issued & slow, steps))
        with m.If(self.issued):
            m.d.sync += [of_period.eq(self._is(Op.PERIOD)), factor.eq(Mux(self._is(Op.PERIOD), self.blocks, source & mask))]
        # Some of the other factor's bits a cycle, the highest first: fewer adders.
        times = Signal(FACTOR_BITS)
        m.d.comb += times.eq(Mux(of_period, period.times, kept.index.times))
        turns = [Mux(step, part, 0) for step, part in zip(steps[:-1], reversed(_chunks(times, bits)), strict=True)]
        product = Signal(max(self._isa.register_bits, self._isa.count_bits), reset_less=True)
        m.d.sync += product.eq(Mux(steps[0], 0, product << bits) + multiply(factor, reduce(or_, turns)))
        write, total = registers.write_port(), Signal(signed(self._isa.count_bits + 2))
        indexing = steps[-1] & ~of_period
        m.d.comb += [
            write.en.eq(indexing | (change & (self._is(Op.SET) | self._is(Op.ADD)))),
            write.addr.eq(Mux(indexing, kept.index.register, self.instruction.operands.set.register)),
            write.data.eq(Mux(indexing, kept.index.value + product, changed)),
            total.eq(product[:self._isa.count_bits] + period.value),
        ]
        with m.If(steps[-1] & of_period):
            m.d.sync += self.period.eq(Mux(total < period.least, period.least, total))

    def _steps(self, m):
        """Where to go on: loops, tokens, the end."""
        operands = self.instruction.operands
        # A loop's counter is the number of the turn that is ending, from 1 on.
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
        with m.If(self.start):
            m.d.sync += [
                self.token.eq(self.begin.token), self.position.eq(self.begin.position), wanted.eq(self.begin.count),
            ]


def _factor_bits(config):
    """Bits of a factor that are multiplied by in a cycle."""
    return 2 if config.compact else 6


def _chunks(value, bits):
    """A value's bits, so many at a time, the lowest first."""
    return [value[start:start + bits] for start in range(0, len(value), bits)]
