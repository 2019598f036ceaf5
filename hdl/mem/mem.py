"""MEM, the vector memory."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryReader, EntryWriter, HostBus
from ..spec.config import Config, address_bits
from ..spec.ports import MEM_READ_LATENCY
from ..spec.protocol import Space


class Mem(wiring.Component):
    """Holds vectors: words of `rows` values for the MXM, granules of `lanes` values for the VXM.

    The same values are kept three times, so that all ports can read in every cycle. The MXM's copy
    has the low 8 bits of each value, and is a word wide. The VXM's two copies, for its operands x
    and y, have all 16 bits, and are a granule wide. A write goes to all three. A configuration may
    keep less in each (`Config.windows`): what is read outside of a window is undefined.

    Latency: a read takes `LATENCY` cycle.
    Throughput: three reads and a write a cycle. A granule that is read in the cycle in which it is
    written is undefined: the schedule has no such read.
    Cost: 8 + 16 + 16 bits of memory for each value, less where there are windows.

    Parameters: `config`.

    Members (no flow control):
        `act_address : In`, `act : Out(ArrayLayout(signed(8), rows))`: the MXM's read port
        `x_address : In`, `x : Out(ArrayLayout(signed(16), lanes))`: the VXM's read port for x
        `y_address : In`, `y : Out(ArrayLayout(signed(16), lanes))`: the VXM's read port for y
        `write_enable : In(1)`, `write_address : In`, `write_data : In`: a granule is written
        `host : In(HostBus)`: the link's bus, used between runs only
    """

    LATENCY = MEM_READ_LATENCY

    def __init__(self, config: Config):
        self._config = config
        word, granule = address_bits(config.mem_depth), address_bits(config.granules)
        vector = data.ArrayLayout(signed(16), config.lanes)
        super().__init__({
            "act_address": In(word),
            "act": Out(data.ArrayLayout(signed(8), config.rows)),
            "x_address": In(granule),
            "x": Out(vector),
            "y_address": In(granule),
            "y": Out(vector),
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
        windows = config.windows
        m.submodules.words = words = Memory(shape=unsigned(config.rows * 8), depth=windows["act"].depth, init=[])
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
            write.addr.eq(windows["act"].index(address[part:])),
            write.data.eq(narrow.replicate(config.granules_per_word)),
            write.en.eq((enable & windows["act"].has(address[part:])) << address[:part]),
        ]
        read = words.read_port()
        m.d.comb += [read.addr.eq(windows["act"].index(self.act_address)), read.en.eq(1), self.act.eq(read.data)]

        for name, source in (("x", Mux(reader.reading, reader.entry, self.x_address)), ("y", self.y_address)):
            window = windows[name]
            m.submodules[name] = copy = Memory(shape=unsigned(bits), depth=window.depth, init=[])
            write, read = copy.write_port(), copy.read_port()
            m.d.comb += [
                write.addr.eq(window.index(address)), write.data.eq(value), write.en.eq(enable & window.has(address)),
                read.addr.eq(window.index(source)), read.en.eq(1), getattr(self, name).eq(read.data),
            ]
        m.d.comb += reader.data.eq(self.x)
        return m
