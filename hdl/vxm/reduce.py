"""The VXM's reductions: one scalar from all values of a round."""

from collections.abc import Collection

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.pipeline import Pipeline
from ..spec.config import Config, address_bits
from ..spec.isa import Reduce, isa_of

LOWEST = -(1 << 15)


class Reducer(wiring.Component):
    """Reduces a round of values to one: maximum, its index, magnitude, sum, or one lane.

    ::

        values --> keys --> half tree --> [reg] --> other half --> [reg] --> beats before --> [reg]

    With `config.reduce_stages` other than 2 the tree has as many parts, with a register behind
    each. A compact tile has only the last register, that of the result.

    Latency: `done`, with `result` and `index` of all beats since the last `first` one,
    `latency(config)` cycles after the beat that `ends`.
    Throughput: a granule a cycle.
    Cost: a tree of `lanes` - 1 comparators and one of as many adders.

    Parameters: `config`.

    Members:
        `values : In(ArrayLayout(signed(16), lanes))`: the granule
        `keep : In(lanes)`: lanes that count, a bit a lane
        `kind : In(Reduce)`: the reduction
        `active : In(1)`: there is a granule in this cycle
        `first : In(1)`, `ends : In(1)`: it begins or ends a round
        `number : In`: of the granule in its round, for the index
        `more : In(1)`: with external memory, an ARGMAX goes on where the ARGMAX before it has ended: it compares with
            the largest value so far, and numbers its granules behind those
        `lane : In`: the lane that PICK picks
        `result : Out(signed(32))`: the reduced value
        `index : Out(config.token_bits)`: where in the round the maximum is
        `done : Out(1)`: `result` is there, for one cycle; not for ARGMAX
        `argmax : Out(1)`: an ARGMAX is done, for one cycle
        `chosen : Out(config.token_bits)`: the index that the last ARGMAX found
    """

    @staticmethod
    def registers(config: Config) -> Collection[int]:
        """The stages that a register ends. Stages 1 to `config.reduce_stages` are the tree, the next one the result."""
        result = config.reduce_stages + 1
        return (result,) if config.compact else range(1, result + 1)

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from the values of a beat to the result."""
        return len(Reducer.registers(config))

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "values": In(data.ArrayLayout(signed(16), config.lanes)), "keep": In(config.lanes), "kind": In(Reduce),
            "active": In(1), "first": In(1), "ends": In(1), "number": In(isa_of(config).number_bits),
            "lane": In(address_bits(config.lanes)),
            "result": Out(signed(32)), "index": Out(config.token_bits), "done": Out(1), "argmax": Out(1),
            "chosen": Out(config.token_bits),
        } | ({"more": In(1)} if config.memory else {}))

    def elaborate(self, platform):
        m = Module()
        pipe, lanes = Pipeline(m, self.registers(self._config)), self._config.lanes
        largest = Signal()
        m.d.comb += largest.eq((self.kind == Reduce.MAX) | (self.kind == Reduce.ARGMAX))
        # A candidate is a key and its lane; of equal keys the lowest lane wins. The magnitude of a negative value
        # is its complement plus one. The one is added last: until then it is the lowest bit of the key, which
        # keeps keys in order.
        best, terms = [], []
        for lane in range(lanes):
            value = self.values[lane]
            key, term = Signal(signed(17), name=f"key{lane}"), Signal(signed(16), name=f"term{lane}")
            negate = ~largest & value[-1] & self.keep[lane]
            m.d.comb += [
                key.eq(Cat(negate, Mux(self.keep[lane], value ^ negate.replicate(16), Mux(largest, LOWEST, 0)))),
                term.eq(Mux(self.keep[lane], value, 0)),
            ]
            with m.If((self.kind == Reduce.PICK) & (self.lane != lane)):
                m.d.comb += term.eq(0)
            best.append((key, C(lane, address_bits(lanes))))
            terms.append(term)

        levels, stages = (lanes - 1).bit_length(), self._config.reduce_stages
        for stage in range(1, stages + 1):
            for level in range(-(-levels * (stage - 1) // stages), -(-levels * stage // stages)):
                best = [self._better(m, best[i], best[i + 1], f"best{level}_{i}") for i in range(0, len(best), 2)]
                terms = [terms[i] + terms[i + 1] for i in range(0, len(terms), 2)]
            best, terms = self._register(pipe, stage, best, terms)
        ((key, lane),), (term,) = best, terms

        beat = data.StructLayout({"active": 1, "first": 1, "ends": 1, "kind": Reduce, "number": self.number.shape()}
                                 | ({"more": 1} if self._config.memory else {}))
        given, better, most = Signal(beat), Signal(), Signal.like(key, name="most", reset_less=True)
        m.d.comb += [getattr(given, name).eq(getattr(self, name)) for name, _ in beat]
        now = pipe.through(range(1, stages + 1), given, "beat", reset_less=False)
        m.d.sync += [self.done.eq(0), self.argmax.eq(0)]
        number = self._number(m, now) if self._config.memory else now.number
        index = (number << levels) | lane if levels else number
        summing = (now.kind == Reduce.SUM) | (now.kind == Reduce.PICK)
        if self._config.memory:
            self._choose(m, now, key, index)
        m.d.comb += better.eq(now.first | (key > most))
        with m.If(now.active):
            m.d.sync += [self.done.eq(now.ends & (now.kind != Reduce.ARGMAX)),
                         self.argmax.eq(now.ends & (now.kind == Reduce.ARGMAX))]
            with m.If(summing & ~now.first):
                m.d.sync += self.result.eq(term + self.result)
            with m.Elif(summing | better):
                m.d.sync += [self.result.eq(Mux(summing, term, (key >> 1) + key[0])), most.eq(key)]
                if not self._config.memory:
                    m.d.sync += self.index.eq(index)
        with m.If(self.argmax):
            m.d.sync += self.chosen.eq(self.index)
        return m

    def _number(self, m, now):
        """The number of a granule: in its round, or in that of all ARGMAX that go on."""
        passed, number = (Signal(self._config.token_bits, name=name) for name in ("passed", "number"))
        m.d.comb += number.eq(now.number + Mux(now.more, passed, 0))
        with m.If(now.active & now.ends & (now.kind == Reduce.ARGMAX)):
            m.d.sync += passed.eq(number + 1)
        return number

    def _choose(self, m, now, key, index):
        """Keeps the index of an ARGMAX apart from other reductions, which may come before it goes on."""
        top = Signal(signed(17), reset_less=True)
        with m.If(now.active & (now.kind == Reduce.ARGMAX) & ((now.first & ~now.more) | (key > top))):
            m.d.sync += [top.eq(key), self.index.eq(index)]

    def _better(self, m, one, other, name):
        """The candidate with the larger key; of two equal ones the first."""
        chosen, lane = Signal(signed(17), name=name), Signal(one[1].shape(), name=f"{name}_lane")
        second = other[0] > one[0]
        m.d.comb += [chosen.eq(Mux(second, other[0], one[0])), lane.eq(Mux(second, other[1], one[1]))]
        return chosen, lane

    def _register(self, pipe, stage, best, terms):
        best = [(pipe.at(stage, key, f"key{i}_"), pipe.at(stage, lane, f"lane{i}_")) for i, (key, lane) in enumerate(best)]
        return best, [pipe.at(stage, term, f"term{i}_") for i, term in enumerate(terms)]
