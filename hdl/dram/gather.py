"""Makes entries of W-RAM and granules of MEM of the words that come from external memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config, address_bits
from ..spec.isa import Op, Place, isa_of
from ..spec.ports import WramFill


class Gather(wiring.Component):
    """Collects words of the bus, the lowest bits of an entry first, and writes each entry when it is whole.

    Latency: an entry is written 1 cycle after its last word (`LATENCY`).
    Throughput: a word a cycle.
    Cost: a register for the longer of the two entries, and an address.

    Parameters: `config`.

    Members (no flow control):
        `begins : In(1)`: the next word is the first of a move `to : In(Place)`, from `near : In` on
        `arrived : In(1)`, `word : In(bus_bits)`: a word
        `fill : Out(WramFill(config))`: an entry of W-RAM
        `write_enable : Out(1)`, `write_address : Out`, `write_data : Out`: a granule of MEM
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "begins": In(1), "to": In(Place), "near": In(isa_of(config).command(Op.MOVE)["near"].shape), "arrived": In(1),
            "word": In(config.memory.part.bus_bits), "fill": Out(WramFill(config)), "write_enable": Out(1),
            "write_address": Out(address_bits(config.granules)), "write_data": Out(config.lanes * 16),
        })

    def elaborate(self, platform):
        m = Module()
        config, bus_bits = self._config, len(self.word)
        entry_bits, granule_bits = len(self.fill.data), len(self.write_data)
        kept, to = Signal(max(entry_bits, granule_bits), reset_less=True), Signal(Place)
        number = Signal(range(len(kept) // bus_bits))
        # Entries count through all columns of a word, and then through the words.
        column_bits = (config.cols - 1).bit_length()
        at, whole = Signal(max(len(self.near) + column_bits, len(self.fill.entry))), Signal()
        last = Mux(to == Place.WRAM, entry_bits // bus_bits - 1, granule_bits // bus_bits - 1)
        m.d.sync += whole.eq(self.arrived & (number == last) & (to != Place.SDRAM))
        with m.If(self.arrived):
            m.d.sync += [kept.eq(Cat(kept, self.word)[bus_bits:]), number.eq(Mux(number == last, 0, number + 1))]
        with m.If(whole):
            m.d.sync += at.eq(at + 1)
        with m.If(self.begins):
            m.d.sync += [to.eq(self.to), number.eq(0),
                         at.eq(Mux(self.to == Place.WRAM, self.near << column_bits, self.near))]
        m.d.comb += [
            self.fill.enable.eq(whole & (to == Place.WRAM)), self.fill.entry.eq(at), self.fill.data.eq(kept[-entry_bits:]),
            self.write_enable.eq(whole & (to == Place.MEM)), self.write_address.eq(at),
            self.write_data.eq(kept[-granule_bits:]),
        ]
        return m
