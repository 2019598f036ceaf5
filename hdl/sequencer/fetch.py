"""The fetch: reads instructions from the program memory ahead of their issue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.config import Config
from ..spec.isa import isa_of
from .program import Program


class Fetch(wiring.Component):
    """Fetches instructions, two ahead: one at the memory's output, one in `instruction`.

    Latency: after `go` the instruction at `entry` is `ready` `LATENCY` cycles later.
    Throughput: an instruction a cycle.
    Cost: the program memory, and a register for an instruction.

    Parameters: `config`.

    Members:
        `running : In(1)`: a program runs
        `go : In(1)`, `entry : In`: continue there; what was fetched is dropped
        `instruction : Out`, `ready : Out(1)`: the next instruction, until `take : In(1)`
        `host : In(HostBus)`: the link's bus, to the program memory
    """

    LATENCY = Program.LATENCY + 2

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "running": In(1), "go": In(1), "entry": In(range(config.program_depth)),
            "instruction": Out(isa_of(config).layout), "ready": Out(1), "take": In(1), "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = Program(self._config)
        wiring.connect(m, wiring.flipped(self.host), program.host)
        pc, ahead, load, move = Signal.like(self.entry), Signal(), Signal(), Signal()
        m.d.comb += [
            move.eq(ahead & (~self.ready | self.take)), load.eq(self.running & (~ahead | move)),
            program.address.eq(pc), program.enable.eq(load),
        ]
        with m.If(load):
            m.d.sync += [pc.eq(pc + 1), ahead.eq(1)]
        with m.Elif(move):
            m.d.sync += ahead.eq(0)
        with m.If(move):
            m.d.sync += self.instruction.as_value().eq(program.code)
        m.d.sync += self.ready.eq(move | (self.ready & ~self.take))
        with m.If(self.go):
            m.d.sync += [pc.eq(self.entry), ahead.eq(0), self.ready.eq(0)]
        return m
