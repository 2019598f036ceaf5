"""MEM, the vector memory."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .host import EntryReader, EntryWriter, HostBus
from .protocol import Space


class Mem(wiring.Component):
    """Words of `rows` 16-bit values, read as words by the MXM and as granules by the VXM.

    The same values are kept twice, so that both can read in every cycle: the MXM's copy has the low
    8 bits of each, a word wide; the VXM's has all 16, a granule (`lanes` values) wide. A write
    goes to both.

    Read latency `LATENCY` = 1 cycle; two reads and a write each cycle. A granule that is read in the
    cycle in which it is written is undefined: the schedule has no such read.

    Members: `act_address`, `act`: the MXM's word; `scale_address`, `scale`: the VXM's granule;
    `write_enable`, `write_address`, `write_data`: a granule; `host`: the link's way in, used only between runs.
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        word, granule = address_bits(config.mem_depth), address_bits(config.granules)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "act_address": In(word),
            "act": Out(data.ArrayLayout(signed(8), config.rows)),
            "scale_address": In(granule),
            "scale": Out(vector),
            "write_enable": In(1),
            "write_address": In(granule),
            "write_data": In(vector),
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        bits = config.lanes * 16
        m.submodules.host_writer = writer = EntryWriter(Space.MEM, bits)
        m.submodules.host_reader = reader = EntryReader(Space.MEM, bits)
        m.submodules.words = words = Memory(shape=unsigned(config.rows * 8), depth=config.mem_depth, init=[])
        m.submodules.granules = granules = Memory(shape=unsigned(bits), depth=config.granules, init=[])
        wiring.connect(m, wiring.flipped(self.host), writer.host)
        wiring.connect(m, wiring.flipped(self.host), reader.host)

        address, value = Signal.like(self.write_address), Signal.like(self.write_data)
        enable = Signal()
        m.d.comb += [
            enable.eq(self.write_enable | writer.enable),
            address.eq(Mux(writer.enable, writer.entry, self.write_address)),
            value.eq(Mux(writer.enable, writer.data, self.write_data)),
        ]
        part = (config.granules_per_word - 1).bit_length()
        narrow = Cat(value[lane][:8] for lane in range(config.lanes))
        write = words.write_port(granularity=config.lanes * 8)
        m.d.comb += [
            write.addr.eq(address[part:]),
            write.data.eq(narrow.replicate(config.granules_per_word)),
            write.en.eq(enable << address[:part]),
        ]
        write = granules.write_port()
        m.d.comb += [write.addr.eq(address), write.data.eq(value), write.en.eq(enable)]

        read = words.read_port()
        m.d.comb += [read.addr.eq(self.act_address), read.en.eq(1), self.act.eq(read.data)]
        read = granules.read_port()
        m.d.comb += [
            read.addr.eq(Mux(reader.reading, reader.entry, self.scale_address)), read.en.eq(1),
            self.scale.eq(read.data), reader.data.eq(read.data),
        ]
        return m
