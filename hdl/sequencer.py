"""The sequencer: one program counter that starts every slice at its appointed cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .host import EntryReader, EntryWriter, HostBus
from .isa import ADDRESS_REGISTERS, COUNTERS, WAIT_BITS, Isa, Op
from .protocol import Space


def command_layout(isa: Isa, op: Op) -> data.StructLayout:
    """A slice's command port: `valid` for one cycle, and what to do. No flow control."""
    return data.StructLayout({"valid": 1, "operands": isa.command(op)})


class Sequencer(wiring.Component):
    """Program memory, loops, address registers, cycle counter; starts the slices.

    ::

        program memory --> fetched --> decode --> commands of the slices
             ^    issue: this cycle      | address registers, loop counters
             +--- pc <-------------------+ LOOP

    After `start` in cycle 0 the first instruction issues in cycle `FIRST_ISSUE`; the one after an
    instruction that issued in cycle t issues in cycle t + 1 + wait (after a LOOP, taken or not, in
    t + `LOOP_CYCLES` + wait). A slice sees its command `LATENCY` cycles after issue. A HALT that issued
    in cycle t ends the run: `cycles` is then t + `HALT_CYCLES`, the cycles in which `running` was 1.

    Members: `start`, `entry`: begin a run there; `running`; `cycles`, of this run or the last;
    `mxm`, `vxm`: commands; `host`: the link's way to the program memory, used only between runs.
    """

    FIRST_ISSUE = 2
    LOOP_CYCLES = 4
    HALT_CYCLES = 1
    LATENCY = 2

    def __init__(self, config: Config):
        self._isa = Isa(config)
        self._depth = config.program_depth
        super().__init__({
            "start": In(1),
            "entry": In(address_bits(self._depth)),
            "running": Out(1),
            "cycles": Out(32),
            "mxm": Out(command_layout(self._isa, Op.MXM)),
            "vxm": Out(command_layout(self._isa, Op.VXM)),
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        isa = self._isa
        m.submodules.program = program = Memory(shape=unsigned(isa.width), depth=self._depth, init=[])
        m.submodules.host_writer = writer = EntryWriter(Space.PROGRAM, isa.width)
        m.submodules.host_reader = reader = EntryReader(Space.PROGRAM, isa.width)
        wiring.connect(m, wiring.flipped(self.host), writer.host)
        m.d.comb += [
            wiring_inputs(reader.host, self.host),
            self.host.read_data.eq(reader.host.read_data),
        ]
        write, read = program.write_port(), program.read_port()
        m.d.comb += [write.addr.eq(writer.entry), write.data.eq(writer.data), write.en.eq(writer.enable)]

        # Fetch: `pc` is the next to fetch; what was fetched stays at the memory's output until it issues.
        pc = Signal(range(self._depth))
        fetched, refetch, issue = Signal(), Signal(2), Signal()
        wait = Signal(WAIT_BITS)
        instruction = data.View(isa.layout, read.data)
        m.d.comb += [
            issue.eq(fetched & (wait == 0)),
            read.addr.eq(Mux(reader.reading, reader.entry, pc)),
            read.en.eq(reader.reading | ~fetched | issue),
            reader.data.eq(read.data),
        ]
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.running & (refetch == 0) & (~fetched | issue)):
            m.d.sync += [fetched.eq(1), pc.eq(pc + 1)]
        with m.If(fetched & ~issue):
            m.d.sync += wait.eq(wait - 1)

        # Issue: what jumps or ends must not be followed by what was fetched after it. Where to go on is known
        # two cycles later, and fetched in the third.
        decode = Signal(isa.layout, reset_less=True)
        issued = Signal()
        m.d.sync += [decode.eq(instruction), issued.eq(issue), refetch.eq(refetch >> 1)]
        with m.If(issue):
            m.d.sync += wait.eq(instruction.wait)
            with m.If((instruction.op == Op.LOOP) | (instruction.op == Op.HALT)):
                m.d.sync += [fetched.eq(0), refetch.eq(0b11), pc.eq(pc)]

        m.submodules.decoder = decoder = Decoder(isa)
        m.d.comb += [
            decoder.issued.eq(issued & self.running), decoder.instruction.eq(decode),
            self.mxm.eq(decoder.mxm), self.vxm.eq(decoder.vxm),
        ]
        with m.If(decoder.jump):
            m.d.sync += pc.eq(decoder.target)
        with m.If(decoder.halt):
            m.d.sync += self.running.eq(0)
        with m.If(self.start):
            m.d.sync += [pc.eq(self.entry), self.running.eq(1), self.cycles.eq(0), fetched.eq(0), wait.eq(0)]
        return m


def wiring_inputs(target, source):
    """Statements that pass the host bus on to `target`, all but `read_data`."""
    return [getattr(target, name).eq(getattr(source, name))
            for name, member in HostBus.members.items() if member.flow is Out]


class Decoder(wiring.Component):
    """Second stage of the sequencer: address registers, loop counters, commands.

    Latency: halt in the same cycle, jump and commands in the next.

    Members: `issued`, `instruction`: from the first stage; `jump`, `target`: continue there;
    `halt`; `mxm`, `vxm`: commands, addresses resolved.
    """

    def __init__(self, isa: Isa):
        self._isa = isa
        super().__init__({
            "issued": In(1),
            "instruction": In(isa.layout),
            "jump": Out(1),
            "target": Out(isa.operands[Op.LOOP]["target"].shape),
            "halt": Out(1),
            "mxm": Out(command_layout(isa, Op.MXM)),
            "vxm": Out(command_layout(isa, Op.VXM)),
        })

    def elaborate(self, platform):
        m = Module()
        operands = self.instruction.operands
        registers = Array(Signal(self._isa.register_bits, name=f"a{i}") for i in range(ADDRESS_REGISTERS))
        # A loop's counter is the number of the turn that is ending, from 1 on.
        counters = Array(Signal(self._isa.count_bits, name=f"loop{i}", init=1) for i in range(COUNTERS))
        loop, counter = operands.loop, counters[operands.loop.counter]
        again = Signal()
        m.d.comb += again.eq(counter != loop.count)
        m.d.sync += [self.target.eq(loop.target), self.jump.eq(0), self.mxm.valid.eq(0), self.vxm.valid.eq(0)]
        for command, op in ((self.mxm, Op.MXM), (self.vxm, Op.VXM)):
            given = operands[op.name.lower()]
            for name, member in self._isa.operands[op]:
                resolved = given[name]
                if isinstance(member.shape, data.Layout):
                    resolved = given[name].offset + registers[given[name].base]
                m.d.sync += command.operands[name].eq(resolved)
        with m.If(self.issued):
            with m.Switch(self.instruction.op):
                with m.Case(Op.HALT):
                    m.d.comb += self.halt.eq(1)
                with m.Case(Op.SET):
                    m.d.sync += registers[operands.set.register].eq(operands.set.value)
                with m.Case(Op.ADD):
                    register = registers[operands.add.register]
                    m.d.sync += register.eq(register + operands.add.value)
                with m.Case(Op.LOOP):
                    m.d.sync += [self.jump.eq(again), counter.eq(Mux(again, counter + 1, 1))]
                with m.Case(Op.MXM):
                    m.d.sync += self.mxm.valid.eq(1)
                with m.Case(Op.VXM):
                    m.d.sync += self.vxm.valid.eq(1)
        return m
