"""W-RAM's write side: the host's weights, and the keys and values of the KV cache."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryWriter, HostBus
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, To
from ..spec.ports import VxmWrite, WramFill
from ..spec.protocol import Space


def WramWrite(config: Config) -> wiring.Signature:
    """W-RAM's write side.

    Members: `enable`, for each column a bit a row; `address`; `data`, for each column a word;
    `writing`, some column is written in this cycle.
    """
    return wiring.Signature({
        "enable": Out(config.rows).array(config.cols), "address": Out(address_bits(config.column_words)),
        "data": Out(config.rows * config.column_bits).array(config.cols), "writing": Out(1),
    })


class WramWriter(wiring.Component):
    """Writes W-RAM: whole words for the host, parts of words for the VXM.

    A granule of KEYS is part `address % (rows / lanes)` of the word `address / (rows / lanes)` of
    column `position % cols`: a key is a column. A granule of VALUES is the row `position % rows` in
    the columns of group `address % (cols / lanes)`, in word `address / (cols / lanes)`: a value is
    a row. Where weights have 4 bits, these words are pairs: the first has the low halves of the
    values, the second the high ones; or, where W-RAM is read in pairs, a pair is a word of the memory.

    Latency: `write` is 1 cycle after `cache`, and 2 cycles after the last link word of a weight
    word. Keys and values go first, because they are in the timetable; a weight word of the host
    waits for them, and meanwhile `hold` keeps the link from sending another. Where W-RAM has one
    port the host writes no weights during a run, and none waits. Entries from external memory come in
    cycles without keys and values: the timetable has it so.
    Throughput: a word a cycle.
    Cost: a register for each column's word, and one for the host's.

    Parameters: `config`.

    Members:
        `cache : In(VxmWrite(config))`: keys and values, no flow control
        `position : In(POSITION_BITS)`: of this step
        `host : In(HostBus)`: the link's bus
        `fill : In(WramFill(config))`: entries from external memory, if there is one
        `crowded : Out(1)`: fault, `fill` and `cache` write in one cycle; only with external memory
        `write : Out(WramWrite(config))`: to the columns
        `hold : Out(1)`: the host may write no word in this cycle
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "cache": In(VxmWrite(config)),
            "position": In(POSITION_BITS),
            "host": In(HostBus),
            "hold": Out(1),
            "write": Out(WramWrite(config)),
        } | ({"fill": In(WramFill(config)), "crowded": Out(1)} if config.memory else {}))

    def elaborate(self, platform):
        m = Module()
        config, write = self._config, self.write
        rows, cols, lanes, bits = config.rows, config.cols, config.lanes, config.column_bits
        m.submodules.host_writer = host = EntryWriter(Space.WRAM, rows * config.weight_bits)
        wiring.connect(m, wiring.flipped(self.host), host.host)
        select = (cols - 1).bit_length()

        # The host's word waits until there is a cycle without keys and values; thanks to `hold` there is one
        # word at most.
        waiting, entry, word = C(0, 1), host.entry, host.data
        if config.wram_ports == 2:
            waiting, kept_entry, kept = Signal(), Signal.like(host.entry), Signal(rows * config.weight_bits, reset_less=True)
            cached = (self.cache.to == To.KEYS) | (self.cache.to == To.VALUES)
            if config.memory:
                m.d.comb += self.crowded.eq(cached & self.fill.enable)
                cached |= self.fill.enable
            m.d.comb += self.hold.eq(cached)
            m.d.sync += waiting.eq(cached & (waiting | host.enable))
            with m.If(host.enable):
                m.d.sync += [kept_entry.eq(host.entry), kept.eq(host.data)]
            entry, word = Mux(waiting, kept_entry, host.entry), Mux(waiting, kept, host.data)

        part, group = config.granules_per_word, config.beats_per_result
        address, values = self.cache.address, [value[:bits] for value in self.cache.values]
        # The lowest bit of the address, where two words hold one of the cache: which half of the pair of words.
        half = C(0, 0)
        if config.wide_beats > 1:
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
        entries = [(self.fill.enable, self.fill.entry, self.fill.data)] if config.memory else []
        for present, number, value in (*entries, (waiting | host.enable, entry, word)):
            rows_of_word, stored = self._stored(number >> select, value)
            with m.Elif(present):
                m.d.sync += write.address.eq(number >> select + config.paired)
                for column in range(cols):
                    m.d.sync += [write.enable[column].eq(Mux((number & cols - 1) == column, rows_of_word, 0)),
                        write.data[column].eq(stored)]
        return m

    def _stored(self, number, word):
        """(a bit for each row of the memory that a word of weights fills, the word as the memory holds it).

        `number`: of the word. Of a pair of words each fills half of the rows; see `marey.hdl.spec.wide`.
        """
        rows, bits = self._config.rows, self._config.weight_bits
        if not self._config.paired:
            return ~0, word
        half = rows // 2
        weights = [word.word_select(row, bits) for row in range(rows)]
        stored = Cat(Cat(weights[row], weights[(row + half) % rows]) for row in range(rows))
        return Cat((~number[0]).replicate(half), number[0].replicate(half)), stored
