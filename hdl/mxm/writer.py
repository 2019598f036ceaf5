"""W-RAM's write side: the host's weights, and the keys and values of the KV cache."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryWriter, HostBus
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, Isa, Op, To
from ..spec.protocol import Space


def VxmWrite(config: Config) -> data.StructLayout:
    """What leaves the VXM: a granule of `values`, where it goes `to` (nowhere: there is none), and the address there; where
    weights have 4 bits, whether the `high` halves of values go to the cache."""
    high = {"high": 1} if config.weight_bits == 4 else {}
    return data.StructLayout({
        "to": To, "address": Isa(config).command(Op.VXM)["dst"].shape, "values": data.ArrayLayout(signed(16), config.lanes),
    } | high)


def WramWrite(config: Config) -> wiring.Signature:
    """W-RAM's write side: by column a bit a row and the data; the address; and `writing`, that a column is written."""
    return wiring.Signature({
        "enable": Out(config.rows).array(config.cols), "address": Out(address_bits(config.wram_depth)),
        "data": Out(config.rows * config.weight_bits).array(config.cols), "writing": Out(1),
    })


class WramWriter(wiring.Component):
    """Writes whole words for the host, and for the VXM parts of words.

    A granule of KEYS is part `address % (rows / lanes)` of the word `address / (rows / lanes)` of column
    `position % cols`: a key is a column. A granule of VALUES is the row `position % rows` in the columns of group
    `address % (cols / lanes)`, in word `address / (cols / lanes)`: a value is a row. Where weights have 4 bits, these words are
    pairs: the low halves of values are in the first, the high ones in the second.

    Latency: `write` is 1 cycle after `cache`, or 2 after the last word of the host. Keys and values go first: they are
    in the timetable. A word of the host's waits for them, and with `hold` the link sends no further one; where W-RAM has one
    port the host writes no weights during a run, and none waits.

    Members: `cache`, `position`; `host`; `write`; `hold`.
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "cache": In(VxmWrite(config)),
            "position": In(POSITION_BITS),
            "host": In(HostBus),
            "hold": Out(1),
            "write": Out(WramWrite(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, write = self._config, self.write
        rows, cols, lanes, bits = config.rows, config.cols, config.lanes, config.weight_bits
        m.submodules.host_writer = host = EntryWriter(Space.WRAM, rows * bits)
        wiring.connect(m, wiring.flipped(self.host), host.host)
        select = (cols - 1).bit_length()

        # The host's word is kept until there is a cycle without keys and values; thanks to `hold` there is one at most.
        waiting, entry, word = C(0, 1), host.entry, host.data
        if config.wram_ports == 2:
            waiting, kept_entry, kept = Signal(), Signal.like(host.entry), Signal(rows * bits, reset_less=True)
            cached = (self.cache.to == To.KEYS) | (self.cache.to == To.VALUES)
            m.d.comb += self.hold.eq(cached)
            m.d.sync += waiting.eq(cached & (waiting | host.enable))
            with m.If(host.enable):
                m.d.sync += [kept_entry.eq(host.entry), kept.eq(host.data)]
            entry, word = Mux(waiting, kept_entry, host.entry), Mux(waiting, kept, host.data)

        part, group = config.granules_per_word, config.beats_per_result
        address, values = self.cache.address, [value[:bits] for value in self.cache.values]
        # What comes below the word's own address.
        half = C(0, 0)
        if bits == 4:
            half = self.cache.high
            values = [Mux(half, value[bits:2 * bits], value[:bits]) for value in self.cache.values]
        key = Cat(values).replicate(part)
        m.d.comb += write.writing.eq(Cat(write.enable).any())
        m.d.sync += [enable.eq(0) for enable in write.enable]
        with m.If(self.cache.to == To.KEYS):
            bits_of_part = (part - 1).bit_length()
            mask = Cat(Mux(address[:bits_of_part] == index // lanes, 1, 0) for index in range(rows))
            m.d.sync += write.address.eq(Cat(half, address >> bits_of_part))
            for column in range(cols):
                m.d.sync += [write.enable[column].eq(Mux((self.position & cols - 1) == column, mask, 0)),
                    write.data[column].eq(key)]
        with m.Elif(self.cache.to == To.VALUES):
            row = Cat((self.position & rows - 1) == index for index in range(rows))
            m.d.sync += write.address.eq(Cat(half, address >> (group - 1).bit_length()))
            for column in range(cols):
                here = (address & group - 1) == column // lanes
                m.d.sync += [
                    write.enable[column].eq(Mux(here, row, 0)),
                    write.data[column].eq(values[column % lanes].replicate(rows)),
                ]
        with m.Elif(waiting | host.enable):
            m.d.sync += write.address.eq(entry >> select)
            for column in range(cols):
                m.d.sync += [write.enable[column].eq(Mux((entry & cols - 1) == column, ~0, 0)), write.data[column].eq(word)]
        return m
