"""The weight RAM of one column."""

from itertools import accumulate, pairwise

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.spram import SinglePortRam
from ..spec.config import Config, address_bits


class Wram(wiring.Component):
    """Holds one column's weights, and gives a word of `rows` weights, or a pair of such words, every cycle.

    A word of the memory is a word of weights; with `config.paired` it is a pair of them, whose bytes are written one by
    one (see `marey.hdl.spec.wide`).

    Latency: a read takes `config.wram_latency` cycles, so that an address comes `lead(config)`
    cycles before its activations. Where that is 2, there are banks with a register behind each: a
    large W-RAM lies all over its device, and the way to the multipliers has a cycle.
    Throughput: with two ports, a read and a write a cycle; a word that is read in the cycle in
    which it is written is undefined. With one port, a read or a write; what is read in the cycle of
    a write is undefined. The schedule, and a host that loads ahead, have no such reads.
    Cost: wram_depth x rows x weight_bits bits of memory.

    Parameters: `config`.

    Members (no flow control):
        `address : In`, `weights : Out`: the read port
        `write_enable : In(rows)`, `write_address : In`, `write_data : In`: the write port, a bit of
            enable for the `column_bits` bits of each row
        `writing : In(1)`: some column is written in this cycle; with one port, all columns' ports
            are for that
    """

    LATENCY = SinglePortRam.LATENCY

    @staticmethod
    def lead(config: Config) -> int:
        """Cycles that a read takes longer than `LATENCY`."""
        return config.wram_latency - Wram.LATENCY

    @staticmethod
    def banks(config: Config) -> list[range]:
        """The words of each bank. Sizes are powers of two: no bank mixes RAMs of two depths."""
        depth = config.column_words
        sizes = [1 << bit for bit in reversed(range(depth.bit_length())) if depth >> bit & 1] if Wram.lead(config) else [depth]
        return [range(*ends) for ends in pairwise(accumulate(sizes, initial=0))]

    def __init__(self, config: Config):
        self._config = config
        word, address = config.rows * config.column_bits, address_bits(config.column_words)
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
        width, grain = self._config.rows * self._config.column_bits, self._config.column_bits
        if self._config.wram_ports == 1:
            m.submodules.memory = memory = SinglePortRam(width=width, depth=self._config.wram_depth, grain=grain)
            m.d.comb += [
                memory.address.eq(Mux(self.writing, self.write_address, self.address)),
                memory.write.eq(self.write_enable), memory.write_data.eq(self.write_data), self.weights.eq(memory.data),
            ]
            return m
        for index, bank in enumerate(self.banks(self._config)):
            m.submodules[f"bank{index}"] = memory = Memory(shape=unsigned(width), depth=len(bank), init=[])
            read, write = memory.read_port(), memory.write_port(granularity=grain)
            word, chosen = read.data, _has(bank, self.address)
            m.d.comb += [
                read.addr.eq(self.address), read.en.eq(1), write.addr.eq(self.write_address), write.data.eq(self.write_data),
                write.en.eq(Mux(_has(bank, self.write_address), self.write_enable, 0)),
            ]
            if self.lead(self._config):
                word = Signal(width, name=f"word{index}", reset_less=True)
                m.d.sync += word.eq(read.data)
            if index == 0:
                m.d.comb += self.weights.eq(word)
                continue
            for stage in range(self._config.wram_latency):
                later = Signal(name=f"chosen{index}_{stage}", reset_less=True)
                m.d.sync += later.eq(chosen)
                chosen = later
            with m.If(chosen):
                m.d.comb += self.weights.eq(word)
        return m


def _has(bank, address):
    """Whether an address is in a bank: its first word is a multiple of its size."""
    size = (len(bank) - 1).bit_length()
    return address[size:] == bank.start >> size
