"""The array of the MXM: a wave of activations moves through the columns, one a cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config, address_bits
from .column import Column, wave_layout
from .drain import Drain
from .unload import Unload
from .wram import Wram
from .writer import WramWrite


class Systolic(wiring.Component):
    """Arranges the columns in a chain: each hands its wave to the next, so that wires are short.

    ::

        wave -----> [reg] --+--> [reg] --+--> ... --> unload --+
                            |            |                     v
        address --> column 0     column 1     ...           granules
                            |            |                     ^
                            +----------> +---> drain ----------+

    Latency, from `wave`: `latency(config)` cycles from the last beat of a result to its first
    granule, `fetch_latency(config)` from the beat of a fetched word to its first granule. Column j
    reads its weights j cycles after column 0.
    Throughput: a wave a cycle, a granule a cycle.
    Cost: for each column, a `Column`, a register for the wave, and its part of the `Drain`.

    Parameters: `config`.

    Members (no flow control):
        `address : In`: of the weights, `address_lead(config)` cycles before `wave`
        `wave : In(wave_layout(config))`: activations
        `write : In(WramWrite(config))`: W-RAM's write side
        `granule : Out(ArrayLayout(signed(accumulator_bits), lanes))`, `valid : Out(1)`: results
        `collision : Out(1)`: fault, two granules in one cycle
    """

    LEAST_LATENCY = 9
    """The least latency, in cycles: a small array delays its results, so that the scalar unit has
    time to compute the factor that multiplies them."""

    @staticmethod
    def address_lead(config: Config) -> int:
        """Cycles from a weight address at the port `address` to its wave at the port `wave`."""
        return Wram.lead(config)

    @staticmethod
    def skew(config: Config) -> int:
        """Cycles from the first column's read of W-RAM to the last one's."""
        return config.cols - 1

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a result to its first granule."""
        return max(Systolic._drained(config), Systolic.LEAST_LATENCY)

    @staticmethod
    def fetch_latency(config: Config) -> int:
        """Cycles from the beat of a fetched word to its first granule."""
        return config.cols + Unload.LATENCY

    @staticmethod
    def _drained(config):
        """Cycles from the last beat of a result to the first granule that leaves the drain."""
        return Wram.LATENCY + Column.latency(config) + Drain.latency(config)

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "address": In(address_bits(config.column_words)),
            "wave": In(wave_layout(config)),
            "write": In(WramWrite(config)),
            "granule": Out(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)),
            "valid": Out(1),
            "collision": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.drain = drain = Drain(config)
        m.submodules.unload = unload = Unload(config)
        address, wave = self.address, self.wave
        for index in range(config.cols):
            m.submodules[f"column{index}"] = column = Column(config)
            # The wave meets the column's weights, and then moves on. For a fetch, the column's word replaces
            # its activations.
            moved, here, leaving, later = (
                Signal.like(value, name=f"{name}{index}", reset_less=True)
                for name, value in (("moved", wave), ("here", wave), ("leaving", wave), ("address", address)))
            # A RESET ends what a wave would still bring out.
            ends = Signal(data.StructLayout({"last": 1, "fetch": 1}), name=f"ends{index}")
            m.d.sync += [moved.eq(wave), later.eq(address), ends.last.eq(wave.last), ends.fetch.eq(wave.fetch)]
            m.d.comb += [
                here.eq(moved), here.last.eq(ends.last), here.fetch.eq(ends.fetch),
                column.address.eq(address), column.wave.eq(here), leaving.eq(here),
                column.write_enable.eq(self.write.enable[index]), column.write_data.eq(self.write.data[index]),
                column.write_address.eq(self.write.address), column.writing.eq(self.write.writing),
                drain.sums[index].eq(column.sum), drain.done[index].eq(column.done),
            ]
            with m.If(here.fetch & (here.column % config.cols == index)):
                m.d.comb += [leaving.act[row].eq(column.weights[row]) for row in range(config.rows)]
            address, wave = later, leaving
        # A small array delays its results (see LEAST_LATENCY).
        result = Cat(drain.granule, drain.valid)
        for stage in range(self.latency(config) - self._drained(config)):
            later = Signal.like(result, name=f"result{stage}")
            m.d.sync += later.eq(result)
            result = later
        granule, valid = Signal(drain.granule.shape()), Signal()
        m.d.comb += [
            Cat(granule, valid).eq(result), unload.word.eq(wave.act), unload.word_valid.eq(wave.fetch),
            self.granule.eq(Mux(unload.valid, unload.granule, granule)), self.valid.eq(valid | unload.valid),
            self.collision.eq(drain.collision | (valid & unload.valid)),
        ]
        return m
