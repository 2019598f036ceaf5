"""The weight RAM of one column."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config, address_bits
from .spram import SinglePortRam


class Wram(wiring.Component):
    """One column's weights: a word of `rows` weights every cycle.

    Read latency `config.wram_latency`: an address comes `lead(config)` cycles ahead of its activations. Where that is 2, a
    register stands behind the memory: a large W-RAM lies all over its device, and the way to the multipliers has a cycle.
    With two ports a read and a write each cycle; a word that is read while it is written is undefined: the schedule, and a
    host that loads ahead, stay clear of it. With one port every word is, and the schedule stays clear of that.

    Members: `address`, `weights`: read; `write_enable` (a bit a row), `write_address`, `write_data`: write; `writing`: one port
    is for that now, in this column or in another.
    """

    LATENCY = SinglePortRam.LATENCY

    @staticmethod
    def lead(config: Config) -> int:
        """Cycles that a read takes longer than `LATENCY`."""
        return config.wram_latency - Wram.LATENCY

    def __init__(self, config: Config):
        self._config = config
        word, address = config.rows * config.weight_bits, address_bits(config.wram_depth)
        super().__init__({
            "address": In(address),
            "weights": Out(word),
            "write_enable": In(config.rows),
            "write_address": In(address),
            "write_data": In(word),
            "writing": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        width, depth, grain = self._config.rows * self._config.weight_bits, self._config.wram_depth, self._config.weight_bits
        if self._config.wram_ports == 1:
            m.submodules.memory = memory = SinglePortRam(width=width, depth=depth, grain=grain)
            m.d.comb += [
                memory.address.eq(Mux(self.writing, self.write_address, self.address)),
                memory.write.eq(self.write_enable), memory.write_data.eq(self.write_data),
            ]
            self._answer(m, memory.data)
            return m
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=depth, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=grain)
        m.d.comb += [
            read.addr.eq(self.address), read.en.eq(1),
            write.addr.eq(self.write_address), write.data.eq(self.write_data), write.en.eq(self.write_enable),
        ]
        self._answer(m, read.data)
        return m

    def _answer(self, m, word):
        if self.lead(self._config):
            kept = Signal.like(word, reset_less=True)
            m.d.sync += kept.eq(word)
            word = kept
        m.d.comb += self.weights.eq(word)
