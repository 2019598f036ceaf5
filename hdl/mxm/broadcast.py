"""The array of a small MXM: columns side by side, all with the same activations in a cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config, address_bits
from .column import Column, wave_layout
from .unload import Unload
from .writer import WramWrite


class Broadcast(wiring.Component):
    """Arranges the columns side by side, for a slow clock: all have the same wave in a cycle.

    ::

        wave, address --+----------+-- ...
                        |          |
                    column 0    column 1   ...  last column     unload
                        |          |                 |            |
                        v          v                 v            v
        granules <--- [reg] <--- [reg] <--- ... <-- [reg] <-------+

    All results of a dot product are there at once, and are shifted out, a granule a cycle. So is a
    fetched word.

    Latency: `latency(config)` and `fetch_latency(config)` cycles, as in `Systolic`; all columns
    read their weights in the same cycle.
    Throughput: a wave a cycle, a granule a cycle.
    Cost: a `Column` for each column, and a register for its result.

    Parameters: `config`.

    Members: as in `Systolic`.
    """

    @staticmethod
    def address_lead(config: Config) -> int:
        """Cycles from a weight address at the port `address` to its wave at the port `wave`."""
        return config.wram_latency

    @staticmethod
    def skew(config: Config) -> int:
        """Cycles from the first column's read of W-RAM to the last one's."""
        return 0

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a result to its first granule."""
        return Column.latency(config) + 1

    @staticmethod
    def fetch_latency(config: Config) -> int:
        """Cycles from the beat of a fetched word to its first granule."""
        return Unload.LATENCY + config.beats_per_result

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
        config, columns = self._config, []
        m.submodules.unload = unload = Unload(config)
        for index in range(config.cols):
            m.submodules[f"column{index}"] = column = Column(config)
            m.d.comb += [
                column.address.eq(self.address), column.wave.eq(self.wave),
                column.write_enable.eq(self.write.enable[index]), column.write_data.eq(self.write.data[index]),
                column.write_address.eq(self.write.address), column.writing.eq(self.write.writing),
            ]
            columns.append(column)
        fetched = Array(column.weights for column in columns)[self.wave.column % config.cols]
        m.d.comb += [unload.word_valid.eq(self.wave.fetch),
                     *(unload.word[row].eq(fetched[row]) for row in range(config.rows))]
        # The granules of a result leave one after another.
        count, lanes, done = config.beats_per_result, config.lanes, columns[0].done
        waiting = Signal(data.ArrayLayout(self.granule.shape(), count), reset_less=True)
        valid = Signal(count)
        with m.If(done):
            m.d.sync += [waiting[index // lanes][index % lanes].eq(column.sum) for index, column in enumerate(columns)]
        with m.Else():
            m.d.sync += waiting.eq(Cat(waiting.as_value()[len(self.granule.as_value()):], unload.granule))
        m.d.sync += valid.eq(Mux(done, ~0, Cat(valid[1:], unload.valid)))
        m.d.comb += [
            self.granule.eq(waiting[0]), self.valid.eq(valid[0]),
            self.collision.eq(done & (valid[1:].any() | unload.valid)),
        ]
        return m
