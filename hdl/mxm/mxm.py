"""MXM, the matrix unit: weights stay, activations travel."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.command import command_layout
from ..spec.config import Config, address_bits
from ..spec.isa import POSITION_BITS, Op
from ..spec.ports import MEM_READ_LATENCY, VxmWrite, WramFill
from .beats import Beats
from .broadcast import Broadcast
from .column import wave_layout
from .systolic import Systolic
from .writer import WramWriter


class Mxm(wiring.Component):
    """Multiplies: rows x cols multiply-accumulates a cycle, on a matrix-vector product too.

    ::

        command --> beats --act--> MEM --word--> array of columns --> granules of `lanes` results
                      |                           ^      ^
                      +--wgt, first, last---------+      |
        VXM --keys, values--> W-RAM's writer ------------+

    Each column has its own W-RAM, so that each multiplier meets a new weight every cycle. There is
    no phase in which weights are loaded into the array.

    Latency: a result whose last beat is in cycle c leaves as granules, one a cycle, from cycle c +
    `latency(config)` on. A word that is fetched in cycle c leaves from cycle c +
    `fetch_latency(config)` on.
    Throughput: a beat a cycle; results `inner` cycles apart.
    Cost: rows x cols multipliers of 8 x 8 bits (8 x 5 with weights of 4 bits that are not read in
    pairs), and a W-RAM for each column.

    Parameters: `config`.

    Members (no flow control, but for `hold`):
        `command : In(command_layout(config, Op.MXM))`: the instruction
        `position : In(POSITION_BITS)`: says which column or row of W-RAM takes keys and values
        `token : In(config.token_bits)`: says from which column a word is fetched
        `act_address : Out`, `act : In(ArrayLayout(signed(8), rows))`: MEM's read port
        `granule : Out(ArrayLayout(signed(accumulator_bits), lanes))`, `valid : Out(1)`: results
        `cache : In(VxmWrite(config))`: keys and values, which are in W-RAM `CACHE_LATENCY` cycle
            later
        `host : In(HostBus)`: writes W-RAM, at any time
        `hold : Out(1)`: the host may write no word in this cycle
        `active : Out(1)`: there is a beat in this cycle
        `overrun : Out(1)`, `collision : Out(1)`: faults, as in `Beats` and in the array
        `fill : In(WramFill(config))`: with external memory, entries from it, which are in W-RAM
            `CACHE_LATENCY` cycle later; `crowded : Out(1)`: fault, one comes in the cycle of a key or value
    """

    CACHE_LATENCY = 1

    @staticmethod
    def array(config: Config) -> type[Systolic] | type[Broadcast]:
        """The component that arranges the columns."""
        return Broadcast if config.compact else Systolic

    @staticmethod
    def fetch_latency(config: Config) -> int:
        """Cycles from the beat of a fetched word to its first granule."""
        return MEM_READ_LATENCY + Mxm.array(config).fetch_latency(config)

    @staticmethod
    def read_latency(config: Config) -> int:
        """Cycles from a beat to the first read of W-RAM."""
        return MEM_READ_LATENCY - Mxm.array(config).address_lead(config)

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a result to its first granule."""
        return MEM_READ_LATENCY + Mxm.array(config).latency(config)

    def __init__(self, config: Config):
        self._config = config
        word = address_bits(config.mem_depth)
        super().__init__({
            "command": In(command_layout(config, Op.MXM)),
            "position": In(POSITION_BITS),
            "token": In(config.token_bits),
            "cache": In(VxmWrite(config)),
            "active": Out(1),
            "act_address": Out(word),
            "act": In(data.ArrayLayout(signed(8), config.rows)),
            "granule": Out(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)),
            "valid": Out(1),
            "overrun": Out(1),
            "collision": Out(1),
            "host": In(HostBus),
            "hold": Out(1),
        } | ({"fill": In(WramFill(config)), "crowded": Out(1)} if config.memory else {}))

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.beats = beats = Beats(config)
        m.submodules.writer = writer = WramWriter(config)
        m.submodules.array = array = self.array(config)(config)
        wiring.connect(m, wiring.flipped(self.host), writer.host)
        wiring.connect(m, writer.write, array.write)
        m.d.comb += [
            beats.command.eq(self.command),
            writer.cache.eq(self.cache), writer.position.eq(self.position), self.hold.eq(writer.hold),
            self.act_address.eq(beats.act), self.active.eq(beats.active), self.overrun.eq(beats.overrun),
            self.granule.eq(array.granule), self.valid.eq(array.valid), self.collision.eq(array.collision),
        ]
        if config.memory:
            m.d.comb += [writer.fill.eq(self.fill), self.crowded.eq(writer.crowded)]
        # The beat waits for MEM's answer, and so may the address of its weights.
        word = beats.wgt[config.paired:]
        address, wave = Signal.like(word), Signal(wave_layout(config))
        m.d.sync += [
            address.eq(word),
            wave.first.eq(beats.first),
            wave.last.eq(beats.last & ~beats.fetch),
            wave.fetch.eq(beats.active & beats.fetch),
            wave.column.eq(self.token),
            *(part.eq(value) for part, value in self._halves(beats, wave)),
        ]
        m.d.comb += [
            array.wave.eq(wave), array.wave.act.eq(self.act),
            array.address.eq(address if self.read_latency(config) else word),
        ]
        if config.wram_ports == 1:
            # 1 in each cycle in which a column reads the weights of a beat.
            reading = Signal(self.read_latency(config) + self.array(config).skew(config) + 1)
            m.d.comb += reading[0].eq(beats.active)
            m.d.sync += [
                reading[1:].eq(reading),
                Assert(~(reading[self.read_latency(config):].any() & writer.write.writing),
                       "schedule fault: W-RAM's one port reads and writes"),
            ]
        return m

    def _halves(self, beats, wave):
        """(field of a wave, its value) for what says which half of a word the weights are."""
        if self._config.paired:
            odd = beats.wgt[0]
            return [(wave.even, ~odd & ~beats.wide), (wave.odd, odd & ~beats.wide)]
        return [(wave.low, beats.low), (wave.high, beats.high)] if self._config.wide_words > 1 else []
