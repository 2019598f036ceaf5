"""Makes words for external memory of granules of MEM."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config, address_bits
from ..spec.isa import Op, isa_of
from ..spec.ports import MEM_READ_LATENCY


class Scatter(wiring.Component):
    """Reads granules of MEM and hands out their words, the lowest bits first.

    Latency: `LATENCY` cycles from `soon` to the word. A granule's address is at MEM's port in the cycle
    of `soon` for its first word.
    Throughput: a word a cycle.
    Cost: a register for a granule, and an address.

    Parameters: `config`.

    Members (no flow control):
        `begins : In(1)`: the next word is the first of a move, from granule `near : In` on
        `soon : In(1)`: a word is taken in `LATENCY` cycles
        `reads : Out(1)`, `address : Out`: MEM's port is for this address
        `granule : In(lanes * 16)`: what was read in the cycle before
        `word : Out(bus_bits)`: the word
    """

    LATENCY = MEM_READ_LATENCY + 1

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "begins": In(1), "near": In(isa_of(config).command(Op.MOVE)["near"].shape), "soon": In(1), "reads": Out(1),
            "address": Out(address_bits(config.granules)), "granule": In(config.lanes * 16),
            "word": Out(config.memory.part.bus_bits),
        })

    def elaborate(self, platform):
        m = Module()
        bus_bits, words = len(self.word), len(self.granule) // len(self.word)
        number, first = Signal(range(words)), Signal()
        kept = Signal(len(self.granule), reset_less=True)
        m.d.comb += [self.reads.eq(self.soon & (number == 0)), self.word.eq(kept)]
        m.d.sync += [first.eq(self.reads), kept.eq(Mux(first, self.granule, kept >> bus_bits))]
        with m.If(self.soon):
            m.d.sync += number.eq(Mux(number == words - 1, 0, number + 1))
        with m.If(self.reads):
            m.d.sync += self.address.eq(self.address + 1)
        with m.If(self.begins):
            m.d.sync += [number.eq(0), self.address.eq(self.near)]
        return m
