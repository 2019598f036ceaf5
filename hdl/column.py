"""One column of the MXM: a weight RAM, `rows` multipliers, an adder tree, an accumulator."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .dot import DotProduct
from .wram import Wram


def wave_layout(config: Config) -> data.StructLayout:
    """What travels along the columns, one column a cycle.

    `act`: the activation word; `wgt`: the W-RAM word that it meets, `Wram.lead` cycles ahead of it; `first`, `last`: this
    beat begins or ends a dot product; `fetch`: the weights of column number `column` take the place of `act`; where weights
    have 4 bits, `low`, `high`: they are the low or the high halves of 8-bit ones. No flow control.
    """
    halves = {"low": 1, "high": 1} if config.weight_bits == 4 else {}
    return data.StructLayout({
        "act": data.ArrayLayout(signed(8), config.rows), "wgt": address_bits(config.wram_depth), "first": 1, "last": 1,
        "fetch": 1, "column": address_bits(config.cols),
    } | halves)


class Column(wiring.Component):
    """Dot products of the activation words that pass by with the weights of this column.

    ::

        wave in --+--> [reg] --------------------------> wave out (the next column, a cycle later)
                  |      |
                  +--> W-RAM --> [reg] --> x rows --> [reg] --> tree --> [reg] --> accumulate --> sum

    Latency: `wave_out` 1 cycle; a dot product whose last beat is at `wave_in` in cycle c is at `sum`,
    with `done`, in cycle c + `LATENCY`, for that cycle alone. A beat every cycle.

    Parameters: `index`, of the column.

    Members: `wave_in`, `wave_out`; `sum`, `done`; `write_enable`, `write_address`, `write_data`: W-RAM's
    write side.
    """

    LATENCY = Wram.LATENCY + DotProduct.LATENCY + 1

    def __init__(self, config: Config, index: int = 0):
        self._config = config
        self._index = index
        wave = wave_layout(config)
        super().__init__({
            "wave_in": In(wave),
            "wave_out": Out(wave),
            "sum": Out(signed(config.accumulator_bits)),
            "done": Out(1),
            "write_enable": In(config.rows),
            "write_address": In(address_bits(config.wram_depth)),
            "write_data": In(config.rows * config.weight_bits),
        })

    def elaborate(self, platform):
        m = Module()
        rows, bits = self._config.rows, self._config.weight_bits
        m.submodules.wram = wram = Wram(self._config)
        m.d.comb += [
            wram.address.eq(self.wave_in.wgt),
            wram.write_enable.eq(self.write_enable),
            wram.write_address.eq(self.write_address),
            wram.write_data.eq(self.write_data),
        ]
        # Stage 1: W-RAM reads; the wave moves on.
        wave = Signal(self.wave_in.shape(), reset_less=True)
        m.d.sync += wave.eq(self.wave_in)
        m.d.comb += self.wave_out.eq(wave)
        word = data.View(data.ArrayLayout(signed(bits), rows), wram.weights)
        with m.If(wave.fetch & (wave.column == self._index)):
            m.d.comb += [self.wave_out.act[row].eq(word[row]) for row in range(rows)]
        # Stages 2 to 4: operands, products, their sum.
        halves = bits == 4
        m.submodules.dot = dot = DotProduct(rows, bits + halves)
        m.d.comb += dot.a.eq(wave.act)
        for row in range(rows):
            # A low half has no sign.
            m.d.comb += dot.b[row].eq(Cat(word[row], word[row][-1] & ~wave.low).as_signed() if halves else word[row])
        # Stage 5: accumulate. A high half counts for 16.
        total = dot.sum
        if halves:
            high = Signal(3)
            m.d.sync += high.eq(Cat(wave.high, high))
            total = Mux(high[-1], dot.sum << 4, dot.sum)
        first, last = (Signal(3, name=name) for name in ("first", "last"))
        m.d.sync += [
            first.eq(Cat(wave.first, first)),
            last.eq(Cat(wave.last, last)),
            self.sum.eq(total + Mux(first[-1], 0, self.sum)),
            self.done.eq(last[-1]),
        ]
        return m
