"""The sequencer of a compact tile, which takes an instruction apart as it comes: a row a cycle."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.command import SLICES, begin_layout, command_layout
from ..spec.config import Config
from ..spec.isa import POSITION_BITS, WAIT_BITS, Isa, Op, Source, isa_of
from ..spec.row_encoding import NEXT, OPERATION, PLACES, ROWS, VALUE_BITS, length
from .row_memory import RowMemory


@dataclass(frozen=True)
class Row:
    """The row that is at the program memory's output in this cycle.

    `bits` is the row, `number` its place in its instruction, `op` the instruction's operation.
    `step` is 1 in a cycle in which the sequencer works at the row.
    """

    isa: Isa
    bits: Value
    number: Value
    op: Value
    step: Value

    def operand(self, op: Op, name: str) -> Value:
        """An operand of `op`, as it lies in its row."""
        field = self.isa.operands[op][name]
        shape = field.shape
        width = shape["offset"].width if isinstance(shape, data.Layout) else field.width
        return self.bits[PLACES[op.name][name][1]:][:width]

    def belongs(self, op: Op, number: int) -> Value:
        """Whether this is row `number` of an `op`."""
        return self.step & (self.op == op) & (self.number == number)


class Rows(wiring.Component):
    """Executes the instructions of a compact tile, a row a cycle.

    ::

        program memory --row--> operation, more --------------------> commands of the slices
               ^                value --> + --> resolved ----------->
               |                          ^        |
               |             read a cycle before   v  SET, ADD, INDEX
          row, counter <-- jumps        address registers

    `marey.hdl.spec.row_encoding` says what is in a row.

    Latency: an instruction issues when its first row is at the memory's output; the others follow,
    a row a cycle. Row r of a slice's command is on its port r cycles after the issue. INDEX keeps
    its third row for two cycles a bit: in them its register is doubled, and `times` is added if the
    bit is 1.
    Throughput: an instruction in as many cycles as it has rows, see `issue_cycles`.
    Cost: 417 logic cells of an iCE40, where `Fetch` and `Decoder` take 1,106 (see docs/tile.md).

    Parameters: `config`.

    Members (no flow control):
        `running : In(1)`, `start : In(1)`, `begin : In(begin_layout(config))`: of the run
        `chosen : In(config.token_bits)`: by the VXM's last ARGMAX
        `halt : Out(1)`: the run is over
        `issuing : Out(1)`, `made : Out(1)`, `position : Out`, `token : Out`: as in `Sequencer`
        `mxm : Out`, `vxm : Out`, `sfu : Out`: commands of the slices, in rows
        `host : In(HostBus)`: the link's bus, to the program memory
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
            "running": In(1), "start": In(1), "begin": In(begin_layout(config)), "chosen": In(config.token_bits),
            "halt": Out(1), "issuing": Out(1), "made": Out(1), "position": Out(POSITION_BITS), "token": Out(config.token_bits),
            **{op.name.lower(): Out(command_layout(config, op)) for op in SLICES},
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = RowMemory(self._config)
        wiring.connect(m, wiring.flipped(self.host), program.host)
        row = Row(self._isa, program.row, Signal(range(ROWS)), Signal(self._isa.layout["op"].shape), Signal())
        # The first row waits until `wait` is over. Its operation is `kept` for the others.
        first, kept, wait = row.number == 0, Signal(row.op.shape(), reset_less=True), Signal(WAIT_BITS)
        m.d.comb += [
            row.op.eq(Mux(first, row.bits[OPERATION:NEXT], kept)), row.step.eq(self.running & ~(first & wait.any())),
            self.issuing.eq(row.step & first),
        ]
        with m.If(first):
            m.d.sync += kept.eq(row.op)
        resolved, stays = self._resolve(m, row)
        with m.If(self.issuing | row.belongs(Op.NOP, 1)):
            m.d.sync += wait.eq(resolved)
        with m.Elif(self.running & first):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.start):
            m.d.sync += wait.eq(0)
        self._commands(m, row, resolved)

        # The address of the next row.
        target = row.operand(Op.LOOP, "target")
        last, pc, following, jump = Signal(), Signal.like(target), Signal.like(target), self._jumps(m, row)
        m.d.comb += last.eq(Cat((row.op == op) & (row.number == self.latency(op)) for op in self._isa.operands).any())
        with m.If(self.start):
            m.d.comb += following.eq(self.begin.entry)
        with m.Elif(jump):
            m.d.comb += following.eq(target)
        with m.Else():
            m.d.comb += following.eq(pc + last)
        at = Mux(self.start | last, 0, row.number + 1)[:len(row.number)]
        m.d.comb += [program.enable.eq(self.start | (row.step & ~stays)), program.address.eq(Cat(at, following))]
        with m.If(program.enable):
            m.d.sync += [row.number.eq(at), pc.eq(following)]
        return m

    def _resolve(self, m, row):
        """Adds the row's value to what its register holds; SET, ADD and INDEX write the sum.

        Returns the sum, and whether the row stays at the memory's output for the next cycle.
        """
        m.submodules.registers = registers = Memory(shape=unsigned(VALUE_BITS), depth=self._isa.registers, init=[])
        read, write = registers.read_port(), registers.write_port()
        resolved, addend, found = (Signal(VALUE_BITS, name=name) for name in ("resolved", "addend", "found"))
        # INDEX: in one cycle its register is read, in the next it becomes twice its value, plus `times` if the
        # source's bit is 1.
        source, number, read_turn, multiplies = Signal(), Signal(4), Signal(), (row.op == Op.INDEX) & (row.number == 2)
        of_source = Mux(source == Source.TOKEN.value, self.token, self.position)
        m.d.comb += [
            read.addr.eq(Mux(self.running, row.bits[NEXT:], 0)), read.en.eq(row.step | ~self.running),
            addend.eq(row.bits), found.eq(read.data), resolved.eq(addend + found),
        ]
        with m.If(multiplies):
            m.d.comb += [addend.eq(Mux(of_source.bit_select(number, 1), row.operand(Op.INDEX, "times"), 0)),
                         found.eq(read.data << 1)]
            m.d.sync += [read_turn.eq(~read_turn), number.eq(number - read_turn)]
        with m.Elif(row.number == 1):
            m.d.sync += [read_turn.eq(0), number.eq(row.operand(Op.INDEX, "bits")),
                         source.eq(row.operand(Op.INDEX, "source"))]
        writes = Cat(row.belongs(op, 1) for op in (Op.SET, Op.ADD)).any() | row.belongs(Op.INDEX, 3) | (
            row.belongs(Op.INDEX, 2) & ~read_turn)
        m.d.comb += [write.en.eq(writes), write.addr.eq(row.operand(Op.SET, "register")), write.data.eq(resolved)]
        return resolved, multiplies & ~(read_turn & (number == row.operand(Op.INDEX, "right")))

    def _commands(self, m, row, resolved):
        """Tells the slices their operands, each when its row is there; PERIOD sets the period."""
        period = Signal(self._isa.count_bits)
        with m.If(row.belongs(Op.PERIOD, 1)):
            m.d.sync += period.eq(resolved)
        for op in SLICES:
            command = getattr(self, op.name.lower())
            m.d.comb += [command.rows[number].eq(row.belongs(op, number)) for number in range(1, length(op.name))]
            m.d.comb += [command.valid.eq(row.belongs(op, self.latency(op))), command.operands.period.eq(period)]
            for name, member in self._isa.operands[op]:
                value = resolved if isinstance(member.shape, data.Layout) else row.operand(op, name)
                m.d.comb += Value.cast(command.operands[name]).eq(value)

    def _jumps(self, m, row):
        """Counts loops and tokens, and ends the run. Returns whether to jump."""
        # The loop's counter is the number of the turn that ends now, from 1 on.
        counter, count = Signal(len(row.operand(Op.LOOP, "count")), init=1), row.operand(Op.LOOP, "count")
        again, wanted = counter != count, Signal(POSITION_BITS)
        loops, makes = row.belongs(Op.LOOP, 1), row.belongs(Op.TOKEN, 1)
        m.d.comb += self.halt.eq(row.belongs(Op.HALT, 0) & (~row.operand(Op.HALT, "if_prompt") | (wanted == 0)))
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
