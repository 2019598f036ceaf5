"""The sequencer: one program counter that starts every slice at its appointed cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config
from .host import EntryReader, EntryWriter, HostBus
from .isa import (
    ADDRESS_REGISTERS,
    COUNT_BITS,
    COUNTERS,
    POSITION_BITS,
    TOKEN_BITS,
    WAIT_BITS,
    Isa,
    MxmBlocks,
    Op,
    Source,
    VxmBlocks,
)
from .protocol import ENTRY_BITS, Space


def command_layout(isa: Isa, op: Op) -> data.StructLayout:
    """A slice's command port: `valid` for one cycle, and what to do. No flow control."""
    return data.StructLayout({"valid": 1, "operands": isa.command(op)})


Begin = data.StructLayout({"entry": ENTRY_BITS, "token": TOKEN_BITS, "position": POSITION_BITS, "count": POSITION_BITS})
"""What a run begins with: the first instruction, the token and its position, and how many tokens are wanted."""

SLICES = (Op.MXM, Op.VXM, Op.SFU)
SLOW = (Op.HALT, Op.INDEX, Op.PERIOD, Op.LOOP, Op.TOKEN)
"""Operations after which the next is fetched anew: they take `Sequencer.SLOW_CYCLES`."""


class Sequencer(wiring.Component):
    """Program memory, loops, address registers, position and token, cycle counter; starts the slices.

    ::

        program memory --> fetched --> decode --> commands of the slices
             ^    issue: this cycle      | address registers, loop counters, position, period
             +--- pc <-------------------+ LOOP, TOKEN

    After `start` in cycle 0 the first instruction issues in cycle `FIRST_ISSUE`; the one after an
    instruction that issued in cycle t issues in cycle t + 1 + wait, or, if that was one of `SLOW`, in
    t + `SLOW_CYCLES` + wait. A slice sees its command `LATENCY` cycles after issue, and TOKEN looks at what was
    `chosen` `TOKEN_LATENCY` cycle after issue. A HALT that issued in cycle t ends the run: `cycles` is then
    t + `HALT_CYCLES`, the cycles in which `running` was 1.

    Members: `start`, `begin`: begin a run; `running`; `cycles`, of this run or the last; `mxm`, `vxm`, `sfu`:
    commands; `issuing`: an instruction issues in this cycle; `position`, `token`: of this step; `chosen`: by the VXM's
    last ARGMAX; `made`, for one cycle: the token is a new one; `host`: the link's way to the program memory, used only
    between runs.
    """

    FIRST_ISSUE = 2
    SLOW_CYCLES = 4
    HALT_CYCLES = 1
    LATENCY = 2
    TOKEN_LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        self._isa = Isa(config)
        self._depth = config.program_depth
        super().__init__({
            "start": In(1),
            "begin": In(Begin),
            "running": Out(1),
            "cycles": Out(32),
            "issuing": Out(1),
            "mxm": Out(command_layout(self._isa, Op.MXM)),
            "vxm": Out(command_layout(self._isa, Op.VXM)),
            "sfu": Out(command_layout(self._isa, Op.SFU)),
            "position": Out(POSITION_BITS),
            "token": Out(TOKEN_BITS),
            "chosen": In(TOKEN_BITS),
            "made": Out(1),
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
        wait, turns = Signal(WAIT_BITS), Signal(8)
        instruction = data.View(isa.layout, read.data)
        m.d.comb += [
            issue.eq(fetched & (wait == 0) & (turns == 0)), self.issuing.eq(issue & self.running),
            read.addr.eq(Mux(reader.reading, reader.entry, pc)),
            read.en.eq(reader.reading | ~fetched | issue),
            reader.data.eq(read.data),
        ]
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.running & (refetch == 0) & (~fetched | issue)):
            m.d.sync += [fetched.eq(1), pc.eq(pc + 1)]
        m.submodules.decoder = decoder = Decoder(self._config)
        with m.If(fetched & ~issue):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.sync += [wait.eq(decoder.period - 1), turns.eq(turns - 1)]

        # Issue: what jumps or ends must not be followed by what was fetched after it. Where to go on is known
        # two cycles later, and fetched in the third.
        decode = Signal(isa.layout, reset_less=True)
        issued = Signal()
        m.d.sync += [decode.eq(instruction), issued.eq(issue), refetch.eq(refetch >> 1)]
        slow = Signal()
        m.d.comb += slow.eq(Cat(instruction.op == op for op in SLOW).any())
        with m.If(issue):
            m.d.sync += wait.eq(instruction.wait)
            with m.If(instruction.op == Op.NOP):
                nop = instruction.operands.nop
                blocks = Mux(nop.blocks == 0, 0, (decoder.blocks << nop.blocks) >> 1)
                m.d.sync += [turns.eq(nop.turns), wait.eq(instruction.wait + blocks)]
            with m.If(slow):
                m.d.sync += [fetched.eq(0), refetch.eq(0b11), pc.eq(pc)]

        m.d.comb += [
            decoder.issued.eq(issued & self.running), decoder.instruction.eq(decode), decoder.start.eq(self.start),
            decoder.begin.eq(self.begin), decoder.chosen.eq(self.chosen),
            self.mxm.eq(decoder.mxm), self.vxm.eq(decoder.vxm), self.sfu.eq(decoder.sfu),
            self.position.eq(decoder.position), self.token.eq(decoder.token), self.made.eq(decoder.made),
        ]
        with m.If(decoder.jump):
            m.d.sync += pc.eq(decoder.target)
        with m.If(decoder.halt):
            m.d.sync += self.running.eq(0)
        with m.If(self.start):
            m.d.sync += [
                pc.eq(self.begin.entry), self.running.eq(1), self.cycles.eq(0), fetched.eq(0), wait.eq(0), turns.eq(0),
            ]
        return m


def wiring_inputs(target, source):
    """Statements that pass the host bus on to `target`, all but `read_data`."""
    return [getattr(target, name).eq(getattr(source, name))
            for name, member in HostBus.members.items() if member.flow is Out]


class Decoder(wiring.Component):
    """Second stage of the sequencer: registers, loop counters, commands.

    Latency: halt in the same cycle, jump and commands in the next, INDEX and PERIOD in the two after that.

    Members: `issued`, `instruction`: from the first stage; `start`, `begin`: a run begins; `jump`, `target`: continue
    there; `halt`; `mxm`, `vxm`, `sfu`: commands, addresses and counts resolved; `period`, `position`, `token`:
    registers; `blocks`, of the position; `chosen`, `made`: as in the sequencer.
    """

    def __init__(self, config: Config):
        self._config = config
        self._isa = isa = Isa(config)
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
            "period": Out(COUNT_BITS),
            "blocks": Out(COUNT_BITS),
            "position": Out(POSITION_BITS),
            "token": Out(TOKEN_BITS),
            "chosen": In(TOKEN_BITS),
            "made": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        isa, operands = self._isa, self.instruction.operands
        registers = Array(Signal(isa.register_bits, name=f"a{i}") for i in range(ADDRESS_REGISTERS))
        # A loop's counter is the number of the turn that is ending, from 1 on.
        counters = Array(Signal(COUNT_BITS, name=f"loop{i}", init=1) for i in range(COUNTERS))
        loop, counter = operands.loop, counters[operands.loop.counter]
        again, wanted = Signal(), Signal(POSITION_BITS)
        blocks = self.blocks
        m.d.comb += [
            again.eq(counter != loop.count),
            blocks.eq((self.position >> (self._config.block - 1).bit_length()) + 1),
        ]

        # Commands: what the slices are told has no registers and no blocks in it any more.
        m.d.sync += [self.target.eq(loop.target), self.jump.eq(0), self.made.eq(0)]
        scaled = {Op.MXM: {"inner": MxmBlocks.INNER, "middle": MxmBlocks.MIDDLE},
                  Op.VXM: {"interval": VxmBlocks.INTERVAL, "middle": VxmBlocks.MIDDLE}, Op.SFU: {}}
        for op in SLICES:
            command, given = getattr(self, op.name.lower()), operands[op.name.lower()]
            m.d.sync += [command.valid.eq(self.issued & (self.instruction.op == op)), command.operands.period.eq(self.period)]
            for name, member in isa.operands[op]:
                resolved = given[name]
                if isinstance(member.shape, data.Layout):
                    resolved = given[name].offset + registers[given[name].base]
                elif name in scaled[op]:
                    resolved = Mux(given.blocks == scaled[op][name], blocks << given[name][:2], given[name])
                m.d.sync += command.operands[name].eq(resolved)

        # INDEX and PERIOD: multiply in one cycle, add in the next.
        index, period = operands.index, operands.period
        product, register = Signal(isa.register_bits, reset_less=True), Signal.like(index.register, reset_less=True)
        long, rest, least = Signal(COUNT_BITS), Signal.like(period.value), Signal.like(period.least)
        total = Signal(signed(COUNT_BITS + 2))
        value = Signal(isa.register_bits, reset_less=True)
        indexing, pacing, paced = Signal(), Signal(), Signal()
        counted = Signal(POSITION_BITS)
        m.d.comb += counted.eq(Mux(index.source == Source.TOKEN, self.token, self.position) >> index.right)
        m.d.sync += [
            indexing.eq(0), pacing.eq(0), paced.eq(pacing),
            product.eq((counted & Mux(index.bits == 0, ~0, (1 << index.bits) - 1)) * index.times),
            register.eq(index.register), value.eq(index.value),
        ]
        with m.If(indexing):
            m.d.sync += registers[register].eq(value + product)
        with m.If(pacing):
            m.d.sync += total.eq(long + rest)
        with m.If(paced):
            m.d.sync += self.period.eq(Mux(total < least, least, total))

        with m.If(self.issued):
            with m.Switch(self.instruction.op):
                with m.Case(Op.HALT):
                    m.d.comb += self.halt.eq(~operands.halt.if_prompt | (wanted == 0))
                with m.Case(Op.SET):
                    m.d.sync += registers[operands.set.register].eq(operands.set.value)
                with m.Case(Op.ADD):
                    stepped = registers[operands.add.register]
                    m.d.sync += stepped.eq(stepped + operands.add.value)
                with m.Case(Op.INDEX):
                    m.d.sync += indexing.eq(1)
                with m.Case(Op.PERIOD):
                    m.d.sync += [
                        pacing.eq(1), long.eq(blocks * period.times), rest.eq(period.value), least.eq(period.least),
                    ]
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
        return m
