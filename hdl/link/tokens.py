"""The memory of the tokens that a run has made."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.host import EntryReader, HostBus
from ..spec.config import Config
from ..spec.protocol import MOST_TOKENS, Space


class Tokens(wiring.Component):
    """Keeps the tokens that a run has made, and puts them on the host bus, like a memory.

    Latency: `count` is right in the cycle after `made`; a read takes `HOST_READ_LATENCY` cycles.
    Throughput: a token a cycle.
    Cost: a memory of `MOST_TOKENS` x `config.token_bits`.

    Parameters: `config`.

    Members:
        `host : In(HostBus)`: the bus
        `start : In(1)`: a run begins: there are no tokens
        `made : In(1)`, `token : In(config.token_bits)`: a new one
        `count : Out`: tokens made by this run, or the last
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "host": In(HostBus), "start": In(1), "made": In(1), "token": In(config.token_bits),
            "count": Out(range(MOST_TOKENS + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._config.token_bits, depth=MOST_TOKENS, init=[])
        m.submodules.reader = reader = EntryReader(Space.TOKENS, 32)
        wiring.connect(m, wiring.flipped(self.host), reader.host)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.count), write.data.eq(self.token), write.en.eq(self.made),
            read.addr.eq(reader.entry), read.en.eq(1), reader.data.eq(read.data),
        ]
        with m.If(self.start):
            m.d.sync += self.count.eq(0)
        with m.Elif(self.made):
            m.d.sync += self.count.eq(self.count + 1)
        return m
