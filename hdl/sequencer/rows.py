"""The sequencer of a compact tile, which takes an instruction apart as it comes: a row a cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.command import SLICES, Begin, command_layout
from ..spec.config import Config
from ..spec.isa import POSITION_BITS, TOKEN_BITS, WAIT_BITS, Op, Source, isa_of
from ..spec.protocol import Space
from ..spec.row_encoding import NEXT, OPERATION, PLACES, ROW_BITS, ROWS, VALUE_BITS, length


class RowMemory(wiring.Component):
    """The program memory: a link word is a row. Read latency `LATENCY` = 1 cycle; a write of the host a cycle.

    Members: `address`, `enable`, `row`: the read port, which keeps what it has read; `host`: the link's way in, used only
    between runs.
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._depth = config.program_depth * ROWS
        super().__init__({"address": In(range(self._depth)), "enable": In(1), "row": Out(ROW_BITS), "host": In(HostBus)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(ROW_BITS), depth=self._depth, init=[])
        write, read, host = memory.write_port(), memory.read_port(), self.host
        mine = host.space == Space.PROGRAM
        m.d.comb += [
            write.addr.eq(host.address), write.data.eq(host.data), write.en.eq(host.write & mine),
            read.addr.eq(Mux(self.enable, self.address, host.address)), read.en.eq(self.enable | host.read),
            self.row.eq(read.data), host.read_data.eq(Mux(mine, read.data, 0)),
        ]
        return m


class Rows(wiring.Component):
    """Steps through the rows of instructions (see `row_encoding`), and has what they change.

    ::

        program memory --row--> operation, more --------------------> commands of the slices
               ^                value --> + --> resolved ----------->
               |                          ^        |
               |             read a cycle before   v  SET, ADD, INDEX
          row, counter <-- jumps        address registers

    Latency: an instruction issues when its first row is at the memory's output, and the others follow it. The row r of a
    slice's command is there r cycles after issue. INDEX keeps its third row for two cycles a bit, in which its register
    is doubled and `times` added to it, if the bit is 1.

    Members: `running`, `start`, `begin`, `chosen`: from the sequencer; `halt`: the run is over; the others as in the sequencer.
    """

    FIRST_ISSUE = RowMemory.LATENCY
    TOKEN_LATENCY = 1

    @staticmethod
    def latency(op: Op) -> int:
        """Cycles from an issue to its last row, with which the command is whole."""
        return length(op.name) - 1

    @staticmethod
    def issue_cycles(op: Op, bits: int, right: int) -> int:
        """Cycles from an issue to the next."""
        of_bits = 2 * (bits or 16 - right) - 1 if op is Op.INDEX else 0
        return length(op.name) + of_bits

    def __init__(self, config: Config):
        self._config, self._isa = config, isa_of(config)
        super().__init__({
            "running": In(1), "start": In(1), "begin": In(Begin), "chosen": In(TOKEN_BITS),
            "halt": Out(1), "issuing": Out(1), "made": Out(1), "position": Out(POSITION_BITS), "token": Out(TOKEN_BITS),
            **{op.name.lower(): Out(command_layout(config, op)) for op in SLICES},
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = RowMemory(self._config)
        wiring.connect(m, wiring.flipped(self.host), program.host)
        self._row, self._at, self._op, self._step = program.row, Signal(range(ROWS)), Signal(Op), Signal()
        # The first row waits until `wait` is over. Its operation is `kept` for the others.
        first, kept, wait = self._at == 0, Signal(Op, reset_less=True), Signal(WAIT_BITS)
        m.d.comb += [
            self._op.eq(Mux(first, self._row[OPERATION:NEXT], kept)), self._step.eq(self.running & ~(first & wait.any())),
            self.issuing.eq(self._step & first),
        ]
        with m.If(first):
            m.d.sync += kept.eq(self._op)
        resolved, stays = self._resolve(m)
        with m.If(self.issuing | self._is(Op.NOP, 1)):
            m.d.sync += wait.eq(resolved)
        with m.Elif(self.running & first):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.start):
            m.d.sync += wait.eq(0)
        self._commands(m, resolved)

        # Where to go on.
        target = self._operand(Op.LOOP, "target")
        last, pc, following, jump = Signal(), Signal.like(target), Signal.like(target), self._jumps(m)
        m.d.comb += last.eq(Cat((self._op == op) & (self._at == self.latency(op)) for op in Op).any())
        with m.If(self.start):
            m.d.comb += following.eq(self.begin.entry)
        with m.Elif(jump):
            m.d.comb += following.eq(target)
        with m.Else():
            m.d.comb += following.eq(pc + last)
        at = Mux(self.start | last, 0, self._at + 1)[:len(self._at)]
        m.d.comb += [program.enable.eq(self.start | (self._step & ~stays)), program.address.eq(Cat(at, following))]
        with m.If(program.enable):
            m.d.sync += [self._at.eq(at), pc.eq(following)]
        return m

    def _operand(self, op, name):
        """An operand, as it lies in its row."""
        field = self._isa.operands[op][name]
        shape = field.shape
        width = shape["offset"].width if isinstance(shape, data.Layout) else field.width
        return self._row[PLACES[op.name][name][1]:][:width]

    def _is(self, op, row):
        """Whether this is a certain row of an operation."""
        return self._step & (self._op == op) & (self._at == row)

    def _resolve(self, m):
        """The row's value and what its register holds, and whether the row stays; SET, ADD and INDEX write it."""
        m.submodules.registers = registers = Memory(shape=unsigned(VALUE_BITS), depth=self._isa.registers, init=[])
        read, write = registers.read_port(), registers.write_port()
        resolved, addend, found = (Signal(VALUE_BITS, name=name) for name in ("resolved", "addend", "found"))
        # INDEX: its register, doubled, and `times` if the bit of the source is 1, by turns with the register's read.
        source, number, read_turn, multiplies = Signal(), Signal(4), Signal(), (self._op == Op.INDEX) & (self._at == 2)
        of_source = Mux(source == Source.TOKEN.value, self.token, self.position)
        m.d.comb += [
            read.addr.eq(Mux(self.running, self._row[NEXT:], 0)), read.en.eq(self._step | ~self.running),
            addend.eq(self._row), found.eq(read.data), resolved.eq(addend + found),
        ]
        with m.If(multiplies):
            m.d.comb += [addend.eq(Mux(of_source.bit_select(number, 1), self._operand(Op.INDEX, "times"), 0)),
                         found.eq(read.data << 1)]
            m.d.sync += [read_turn.eq(~read_turn), number.eq(number - read_turn)]
        with m.Elif(self._at == 1):
            m.d.sync += [read_turn.eq(0), number.eq(self._operand(Op.INDEX, "bits")),
                         source.eq(self._operand(Op.INDEX, "source"))]
        writes = Cat(self._is(op, 1) for op in (Op.SET, Op.ADD)).any() | self._is(Op.INDEX, 3) | (
            self._is(Op.INDEX, 2) & ~read_turn)
        m.d.comb += [write.en.eq(writes), write.addr.eq(self._operand(Op.SET, "register")), write.data.eq(resolved)]
        return resolved, multiplies & ~(read_turn & (number == self._operand(Op.INDEX, "right")))

    def _commands(self, m, resolved):
        """What the slices are told: each operand with its row."""
        period = Signal(self._isa.count_bits)
        with m.If(self._is(Op.PERIOD, 1)):
            m.d.sync += period.eq(resolved)
        for op in SLICES:
            command = getattr(self, op.name.lower())
            m.d.comb += [command.rows[row].eq(self._is(op, row)) for row in range(1, length(op.name))]
            m.d.comb += [command.valid.eq(self._is(op, self.latency(op))), command.operands.period.eq(period)]
            for name, member in self._isa.operands[op]:
                value = resolved if isinstance(member.shape, data.Layout) else self._operand(op, name)
                m.d.comb += Value.cast(command.operands[name]).eq(value)

    def _jumps(self, m):
        """Loops, tokens, the end. Returns whether it goes on elsewhere."""
        # The loop's counter is the number of the turn that is ending, from 1 on.
        counter, count = Signal(len(self._operand(Op.LOOP, "count")), init=1), self._operand(Op.LOOP, "count")
        again, wanted = counter != count, Signal(POSITION_BITS)
        loops, makes = self._is(Op.LOOP, 1), self._is(Op.TOKEN, 1)
        m.d.comb += self.halt.eq(self._is(Op.HALT, 0) & (~self._operand(Op.HALT, "if_prompt") | (wanted == 0)))
        m.d.sync += self.made.eq(makes)
        with m.If(loops):
            m.d.sync += counter.eq(Mux(again, counter + 1, 1))
        with m.If(makes):
            m.d.sync += [self.token.eq(self.chosen), self.position.eq(self.position + 1), wanted.eq(wanted - 1)]
        with m.If(self.start):
            m.d.sync += [
                self.token.eq(self.begin.token), self.position.eq(self.begin.position), wanted.eq(self.begin.count),
            ]
        return (loops & again) | (makes & (wanted != 1))
