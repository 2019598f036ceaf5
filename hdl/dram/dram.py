"""The slice of external memory: executes MOVE."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.command import command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import Op, Place
from ..spec.ports import WramFill
from .engine import DramEngine
from .gather import Gather
from .pins import Pins
from .plan import Plan
from .scatter import Scatter


class Dram(wiring.Component):
    """Moves ranges between external memory and W-RAM or MEM.

    ::

        command --> engine <--> pins
                     |  ^
               words v  | words
                gather  scatter <-- MEM: x
                 |   |
        W-RAM <--+   +--> MEM

    Latency: with the command in cycle 0, word i of burst k moves in cycle `Plan.burst(k)` + i. It reaches
    `Gather` `read_latency(config)` cycles later, and the last word of an entry writes it
    `Gather.LATENCY` cycles after that; a word that goes out was read from MEM `Scatter.LATENCY` cycles
    before. `Plan.busy` is the cycle in which
    the next command may come.
    Throughput: a word of the bus a cycle, but for REFRESH.
    Cost: a `DramEngine`, a `Gather` and a `Scatter`.

    Parameters: `config`, which has external memory.

    Members (no flow control):
        `command : In(command_layout(config, Op.MOVE))`: the instruction
        `stop : In(1)`: the run is over: the move ends within three bursts, and nothing more is written to the tile
        `x_address : Out`, `reads : Out(1)`, `x : In`: MEM's read port; it is this slice's while `reads` is 1
        `fill : Out(WramFill(config))`: an entry of W-RAM
        `write_enable : Out(1)`, `write_address : Out`, `write_data : Out`: a granule of MEM
        `ready : Out(1)`: the chip is initialised
        `overrun : Out(1)`: fault, a command came before the move before it had ended, or before `ready`
        `pins : Out(Pins(part))`: the chip
    """

    @staticmethod
    def plan(config: Config) -> Plan:
        """The cycles of a move on a tile."""
        return Plan(config.memory)

    @staticmethod
    def read_latency(config: Config) -> int:
        """Cycles from a READ of `Plan` to the first word at `Gather`."""
        return DramEngine.read_latency(config.memory)

    def __init__(self, config: Config):
        self._config = config
        granule = address_bits(config.granules)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "command": In(command_layout(config, Op.MOVE)), "stop": In(1), "x_address": Out(granule), "reads": Out(1),
            "x": In(vector), "fill": Out(WramFill(config)), "write_enable": Out(1), "write_address": Out(granule),
            "write_data": Out(vector), "ready": Out(1), "overrun": Out(1), "pins": Out(Pins(config.memory.part)),
        })

    def elaborate(self, platform):
        m = Module()
        config, move = self._config, self.command.operands
        m.submodules.engine = engine = DramEngine(config.memory, len(move.count))
        m.submodules.gather = gather = Gather(config)
        m.submodules.scatter = scatter = Scatter(config)
        # The last words of the move before may still be on their way to `gather` when a command comes.
        to, near = Signal(Place), Signal.like(move.near, reset_less=True)
        with m.If(self.command.valid):
            m.d.sync += [to.eq(move.to), near.eq(move.near)]
        with m.If(self.stop):
            m.d.sync += to.eq(Place.SDRAM)
        wiring.connect(m, engine.pins, wiring.flipped(self.pins))
        m.d.comb += [
            engine.start.eq(self.command.valid), engine.write.eq(move.to == Place.SDRAM), engine.address.eq(move.far),
            engine.count.eq(move.count), engine.stop.eq(self.stop), engine.word.eq(scatter.word),
            self.ready.eq(engine.ready), self.overrun.eq(engine.overrun),
            gather.begins.eq(engine.opens | self.stop), gather.to.eq(Mux(self.stop, Place.SDRAM, to)), gather.near.eq(near),
            gather.arrived.eq(engine.arrived), gather.word.eq(engine.data),
            self.fill.eq(gather.fill), self.write_enable.eq(gather.write_enable),
            self.write_address.eq(gather.write_address), self.write_data.eq(gather.write_data),
            scatter.begins.eq(self.command.valid), scatter.near.eq(move.near), scatter.soon.eq(engine.soon),
            scatter.granule.eq(self.x), self.x_address.eq(scatter.address), self.reads.eq(scatter.reads),
        ]
        return m
