"""Straightens the skewed results of the columns into granules."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config


class Drain(wiring.Component):
    """Straightens the skewed results of the columns: the VXM wants `lanes` of them at once.

    The result of column j is j cycles late. It waits in a shift register, so that granule g of a
    result (columns g * lanes to g * lanes + lanes - 1) leaves in cycle `latency` + g, counted from
    column 0's result in cycle 0::

        lanes = cols = 4      lanes = 2, cols = 4    lanes = 1
        c0 ---[][][]---       c0 ---[][]---          c0 -------
        c1 ----[][]----       c1 ---[]-----          c1 -------
        c2 -----[]-----       c2 ---[]-----          c2 -------
        c3 ------------       c3 ----------          c3 -------

    Latency: `latency(config)` cycles from column 0's result to the first granule.
    Throughput: a granule a cycle. Two results less than cols / lanes cycles apart collide.
    Cost: the sum of `delay(config, column)` over the columns, in registers of `accumulator_bits`.

    Parameters: `config`.

    Members (no flow control):
        `sums : In(signed(accumulator_bits)).array(cols)`, `done : In(1).array(cols)`: results of
            the columns
        `granule : Out(ArrayLayout(signed(accumulator_bits), lanes))`, `valid : Out(1)`: a part of a
            result
        `collision : Out(1)`: fault, two granules in one cycle
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from column 0's result to the granule that has it."""
        return Drain.delay(config, 0)

    @staticmethod
    def delay(config: Config, column: int) -> int:
        """Cycles that a column's result waits."""
        return (config.cols - 1 - column) - (config.beats_per_result - 1 - column // config.lanes)

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "sums": In(signed(config.accumulator_bits)).array(config.cols),
            "done": In(1).array(config.cols),
            "granule": Out(data.ArrayLayout(signed(config.accumulator_bits), config.lanes)),
            "valid": Out(1),
            "collision": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        sums = []
        for column in range(config.cols):
            value = self.sums[column]
            for stage in range(self.delay(config, column)):
                later = Signal(signed(config.accumulator_bits), name=f"c{column}_{stage}", reset_less=True)
                m.d.sync += later.eq(value)
                value = later
            sums.append(value)
        # The last column of a granule, which waits least, tells when the granule is there.
        ready = Signal(config.beats_per_result)
        for granule in range(config.beats_per_result):
            column = (granule + 1) * config.lanes - 1
            done = self.done[column]
            for stage in range(self.delay(config, column)):
                later = Signal(name=f"done{column}_{stage}")
                m.d.sync += later.eq(done)
                done = later
            m.d.comb += ready[granule].eq(done)
        m.d.comb += [
            self.valid.eq(ready.any()),
            self.collision.eq((ready & (ready - 1)).any()),
        ]
        for lane in range(config.lanes):
            chosen = [Mux(ready[granule], sums[granule * config.lanes + lane], 0)
                      for granule in range(config.beats_per_result)]
            m.d.comb += self.granule[lane].eq(reduce(or_, chosen))
        return m


