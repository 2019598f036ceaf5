"""Splits the words that are fetched from W-RAM into granules."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config


class Unload(wiring.Component):
    """Splits the words that are fetched from W-RAM into granules.

    Latency: `LATENCY` cycles from a word to its first granule; then a granule a cycle.
    Throughput: a word every rows / lanes cycles.
    Cost: a register for a word.

    Parameters: `config`.

    Members (no flow control):
        `word : In(ArrayLayout(signed(8), rows))`, `word_valid : In(1)`: a fetched word
        `granule : Out(ArrayLayout(signed(accumulator_bits), lanes))`, `valid : Out(1)`: a part of
            it
    """

    LATENCY = 1

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "word": In(data.ArrayLayout(signed(8), config.rows)),
            "word_valid": In(1),
            "granule": Out(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)),
            "valid": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, count = self._config.lanes, self._config.granules_per_word
        kept = Signal(8 * self._config.rows, reset_less=True)
        left = Signal(range(count + 1))
        with m.If(self.word_valid):
            m.d.sync += [kept.eq(self.word.as_value()), left.eq(count)]
        with m.Else():
            m.d.sync += [kept.eq(kept >> 8 * lanes), left.eq(left - (left != 0))]
        m.d.comb += self.valid.eq(left != 0)
        m.d.comb += [self.granule[lane].eq(kept[8 * lane:8 * lane + 8].as_signed()) for lane in range(lanes)]
        return m
