"""A column of the MXM: its weights and its multipliers."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.dot import DotProduct
from ..spec.config import Config, address_bits
from .wram import Wram


def wave_layout(config: Config) -> data.StructLayout:
    """The layout of a wave: the activations of a beat, and what they are part of.

    Fields: `act`, `rows` values; `first` and `last`, they begin or end a dot product; `fetch`, they
    are no part of one, but ask for the weight word of column `column` modulo cols. Where two
    words hold one of 8-bit weights: `low` and `high`, they meet a half; or, where W-RAM is read in
    pairs, `even` and `odd`, they meet the even or the odd word of the pair, or else both as 8-bit weights.
    """
    halves = {}
    if config.wide_words > 1:
        halves = {"even": 1, "odd": 1} if config.paired else {"low": 1, "high": 1}
    return data.StructLayout({
        "act": data.ArrayLayout(signed(8), config.rows), "first": 1, "last": 1, "fetch": 1, "column": config.token_bits,
    } | halves)


class Column(wiring.Component):
    """Multiplies `rows` activations by the weights of one column, and adds up the products.

    ::

        address --> W-RAM --> choose --+---------------------------> weights
                                       v
               act -----> [reg] --> x rows --> [reg] --> tree --> [reg] --> accumulate --> sum

    Latency: a dot product whose last beat is at `wave`, with its weights at `weights`, in cycle c
    is at `sum`, with `done`, in cycle c + `latency(config)`, for that cycle alone.
    Throughput: a beat a cycle.
    Cost: `rows` multipliers, an adder tree, an accumulator, and a W-RAM. Where W-RAM is read in pairs of
    words, multipliers have 8 x 8 bits, not 8 x 5, and eight LUTs choose the operand of each.

    Parameters: `config`.

    Members (no flow control):
        `address : In`: of the weights, `Wram.LATENCY` cycle before `wave`, or more (see
            `Wram.lead`)
        `wave : In(wave_layout(config))`: activations
        `weights : Out(ArrayLayout(signed(column_bits), rows))`: the weights that W-RAM has read
        `sum : Out(signed(accumulator_bits))`, `done : Out(1)`: a result
        `write_enable : In(rows)`, `write_address : In`, `write_data : In`, `writing : In(1)`:
            W-RAM's write side
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the last beat of a dot product to its sum."""
        return DotProduct.latency(config.sum_stages) + 1

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "address": In(address_bits(config.column_words)),
            "wave": In(wave_layout(config)),
            "weights": Out(data.ArrayLayout(signed(config.column_bits), config.rows)),
            "sum": Out(signed(config.accumulator_bits)),
            "done": Out(1),
            "write_enable": In(config.rows),
            "write_address": In(address_bits(config.column_words)),
            "write_data": In(config.rows * config.column_bits),
            "writing": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        rows, bits, halves, wave, word = config.rows, config.column_bits, config.wide_beats > 1, self.wave, self.weights
        m.submodules.wram = wram = Wram(config)
        m.d.comb += [wram.address.eq(self.address), word.eq(wram.weights)]
        if config.paired:
            m.d.comb += [word[row].eq(weight) for row, weight in enumerate(self._chosen(wram.weights))]
        m.d.comb += [getattr(wram, name).eq(getattr(self, name))
                     for name in ("write_enable", "write_address", "write_data", "writing")]
        # The first stages: operands, products, their sum.
        m.submodules.dot = dot = DotProduct(rows, bits + halves, config.sum_stages)
        m.d.comb += dot.a.eq(wave.act)
        for row in range(rows):
            # A low half has no sign.
            m.d.comb += dot.b[row].eq(Cat(word[row], word[row][-1] & ~wave.low).as_signed() if halves else word[row])
        # The last stage: accumulate. A high half counts for 16.
        total, delay = dot.sum, DotProduct.latency(config.sum_stages)
        if halves:
            high = Signal(delay)
            m.d.sync += high.eq(Cat(wave.high, high))
            total = Mux(high[-1], dot.sum << 4, dot.sum)
        first, last = Signal(delay), Signal(self.latency(config))
        m.d.sync += [
            first.eq(Cat(wave.first, first)),
            last.eq(Cat(wave.last, last)),
            self.sum.eq(Mux(first[-1], total, self.sum + total)),
        ]
        m.d.comb += self.done.eq(last[-1])
        return m

    def _chosen(self, pair):
        """The weights of each row, signed(8), from a pair of words; `marey.hdl.spec.wide` says how they lie in it."""
        rows, wave = self._config.rows, self.wave
        for row in range(rows):
            own, other = (pair.word_select(index, 8) for index in (row, (row + rows // 2) % rows))
            nibble = Mux(wave.odd if row < rows // 2 else wave.even, other[4:], own[:4])
            yield Cat(nibble, Mux(wave.even | wave.odd, nibble[3].replicate(4), own[4:])).as_signed()
