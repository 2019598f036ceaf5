"""Draws programs: every field of every instruction, weighted towards edges and towards what may be legal."""

import random
from math import prod

from amaranth.hdl import Shape
from amaranth.lib import data

from marey.hdl.mxm import Mxm
from marey.hdl.spec.chained import TABLE_UNIT, inner_beats
from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import (
    Address,
    EncodingError,
    Function,
    Instruction,
    MxmBlocks,
    Op,
    Reduce,
    Sfu,
    Then,
    To,
    VxmBlocks,
    isa_of,
    members,
)
from marey.hdl.timing import issue_cycles, mxm_interval
from marey.sw.compiler.distances import stream_offset, take_offset
from marey.sw.compiler.emit import lay_out

FEW, SOME = (1, 1, 1, 2, 2, 3, 4), (0, 0, 1, 1, 2, 3, 5, 7)
MANY = range(5, 70)
"""Counts that are drawn seldom: those of an instruction with many of them take long."""


class Author:
    """Draws programs for a configuration. `rng` is the source of chance; `many` is the share of instructions that have
    many beats.
    """

    def __init__(self, config: Config, rng: random.Random, many: float = 0.25):
        self.config, self.rng, self.isa, self.many = config, rng, isa_of(config), many
        self.registers: list[int] = []

    def program(self) -> list[Instruction]:
        """A program of a few instructions, which may be legal. EncodingError or ValueError if none can be encoded."""
        rng = self.rng
        self.registers, body = [], []
        if rng.random() < 0.8:
            body.append(self.isa.make(Op.PERIOD, **self._period()))
        for _ in range(rng.randint(1, 5)):
            body += self._part()
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            at = rng.randrange(len(body))
            counter = {"counter": rng.randrange(self.isa.counters)} if self.isa.counters > 1 else {}
            body.append(self.isa.make(Op.LOOP, count=rng.randint(1, 3), target=at, **counter))
        if rng.random() < 0.3:
            body.append(self.isa.make(Op.TOKEN, rng.choice(SOME), target=rng.randrange(len(body))))
        body += [self.isa.make(Op.NOP, 200), self.isa.make(Op.HALT)]
        if rng.random() < 0.1:
            body.insert(-1, self.isa.make(Op.HALT, if_prompt=1))
        if rng.random() < 0.35:
            at = rng.randrange(len(body))
            body[at] = self.changed(body[at])
        if len(body) > self.config.program_depth:
            raise ValueError("the program is too long")
        return body

    def changed(self, instruction: Instruction) -> Instruction:
        """The instruction with another value in one of its fields."""
        layout = self.isa.operands[instruction.op]
        name, member = self.rng.choice([*layout, ("wait", None)])
        if member is None:
            return self.isa.make(instruction.op, self.rng.choice((0, 1, 2, 3, 40)), **instruction.operands)
        shape = member.shape
        if isinstance(shape, data.Layout):
            base = self.rng.choice((0, *self.registers))
            value = Address(self._number(shape["offset"].width), base)
        elif words := members(shape):
            value = self.rng.choice(words)
        else:
            shape = Shape.cast(shape)
            value = self._number(shape.width, shape.signed)
        return self.isa.make(instruction.op, instruction.wait, **(instruction.operands | {name: value}))

    def _period(self):
        value = self.rng.choice((1, 5, 12, 20, 40, 60, 100))
        limit = (1 << self.isa.count_bits) - 1
        if self.config.profile.counts_in_registers:
            return {"value": min(value, limit)}
        return {"value": min(value, limit >> 1) * self.rng.choice((1, 1, 1, -1)), "times": self.rng.choice((0, 0, 1, 3)),
                "least": self.rng.choice((0, 0, 9, 80))}

    def _part(self):
        """One instruction, or a product with the VXM that takes its results; then a pause."""
        kind = self.rng.choice((Op.VXM, Op.VXM, Op.VXM, Op.MXM, Op.MXM, Op.SFU, Op.SFU, Op.SET, Op.ADD, Op.INDEX, Op.NOP,
                                Op.PERIOD))
        pause = self.rng.choice((0, 3, 10, 40, 90, 90, 90))
        if kind is Op.MXM:
            return self._product(pause)
        if kind is Op.ADD and not self.registers:
            kind = Op.SET
        draw = {Op.VXM: self._vxm, Op.SFU: self._sfu, Op.SET: self._set, Op.ADD: self._add, Op.INDEX: self._index,
                Op.NOP: self._nop, Op.PERIOD: self._period}
        operands = draw[kind]()
        if kind is Op.VXM and self.rng.random() < 0.9:
            pause += _more_beats(operands)
        return [self.isa.make(kind, pause if kind in (Op.VXM, Op.SFU, Op.NOP) else self.rng.choice((0, 0, 1, 2)), **operands)]

    def _number(self, bits, signed=False):
        """A number at an edge of its width, a small one, or any."""
        top = 1 << bits - signed
        low = -top if signed else 0
        return max(low, min(top - 1, self.rng.choice((low, top - 1, 0, 1, 2, 3, self.rng.randrange(low, top)))))

    def _address(self, most, first=0):
        base = self.rng.choice([0, 0, 0, *self.registers])
        return Address(first + self.rng.randrange(most if not base else max(1, most // 2)), base)

    def _set(self):
        register = self.rng.randint(1, 3)
        self.registers.append(register)
        return {"register": register, "value": self.rng.choice(SOME)}

    def _add(self):
        return {"register": self.rng.choice(self.registers), "value": self.rng.choice(SOME)}

    def _index(self):
        return self._set() | {"source": self.rng.choice(members(self.isa.operands[Op.INDEX]["source"].shape)),
                              "right": self.rng.choice((0, 1, 2, 3, 3)), "bits": self.rng.choice((0, 1, 2, 3)),
                              "times": self.rng.choice(SOME)}

    def _nop(self):
        if self.config.profile.counts_in_registers:
            return {"register": self.rng.choice([0, *self.registers])}
        return {"turns": self.rng.choice(SOME), "blocks": self.rng.choice((0, 0, 1, 2))}

    def _sfu(self):
        half, function = self.config.scalars // 2, self.rng.choice(list(Sfu))
        first = half if function is Sfu.MULTIPLY else 0
        count = self.rng.choice((1, 1, 1, 2, 3))
        reads = [first + self.rng.randrange(half - count + 1) for _ in range(2)]
        return {"function": function, "a": reads[0], "b": reads[1] if function is Sfu.MULTIPLY else 0,
                "into": half + self.rng.randrange(half - count + 1), "count": count, "epsilon": self._number(16)}

    def _three(self):
        """Three counts, in any order: all of them few, or one of them many."""
        counts = [self.rng.choice(FEW), self.rng.choice(FEW), self.rng.choice(MANY if self.rng.random() < self.many else FEW)]
        self.rng.shuffle(counts)
        limit = (1 << self.isa.count_bits) - 1
        return [min(count, limit) for count in counts]

    def _counts(self, operands):
        """A VXM's counts in blocks, or with an address register added, where the tile has that, for one VXM in eight."""
        rng = self.rng
        if self.config.profile.counts_in_registers:
            if self.registers and rng.random() < 0.12:
                name = rng.choice(("middle", "interval"))
                operands[name] = Address(operands[name], rng.choice(self.registers))
        elif rng.random() < 0.12:
            blocks = VxmBlocks(1 + rng.randrange(2))
            operands |= {"blocks": blocks, blocks.name.lower(): rng.choice((0, 0, 1))}
        return operands

    def _counts_of_product(self, inner, middle):
        """One count of a product in blocks, or with an address register added, where the tile has that.

        Returns (instructions before it, operands of the MXM, operands of the VXM that takes its results, the counts
        `inner` and `middle` while one block is filled).
        """
        rng, of_inner = self.rng, self.rng.random() < 0.5
        if not self.config.profile.counts_in_registers:
            power = rng.choice((0, 0, 1, 2))
            if of_inner:
                return ([], {"blocks": MxmBlocks.INNER, "inner": power}, {"blocks": VxmBlocks.INTERVAL, "interval": power},
                        1 << power, middle)
            return ([], {"blocks": MxmBlocks.MIDDLE, "middle": power}, {"blocks": VxmBlocks.MIDDLE, "middle": power},
                    inner, 1 << power)
        register, value = rng.randint(1, 3), rng.choice(SOME)
        self.registers.append(register)
        count = Address(inner if of_inner else middle, register)
        before = [self.isa.make(Op.SET, register=register, value=value)]
        if of_inner:
            return before, {"inner": count}, {"interval": count}, inner + value, middle
        return before, {"middle": count}, {"middle": count}, inner, middle + value

    def _vxm(self):
        config, rng = self.config, self.rng
        reduce, to = rng.choice((Reduce.NONE, *Reduce)), rng.choice((To.MEM, To.MEM, *To))
        scalar_reduced = reduce not in (Reduce.NONE, Reduce.ARGMAX)
        dst = config.granules if to in (To.MEM, To.NOWHERE) else config.wram_depth
        (inner, middle, outer), x, y = self._three(), config.windows["x"], config.windows["y"]
        if scalar_reduced:
            outer = min(outer, config.scalars // 2)
        operands = {
            "function": rng.choice(members(self.isa.operands[Op.VXM]["function"].shape)),
            "x": self._address(x.depth, x.first), "y": self._address(y.depth, y.first), "dst": self._address(dst),
            "inner": inner, "outer": outer, "middle": middle, "interval": rng.choice(FEW),
            "shift": self._number(7, signed=True), "to": to, "reduce": reduce,
            "into": rng.randint(1, max(1, config.scalars // 2 - outer)) if scalar_reduced else 0,
            "scalar": rng.choice((0, *(rng.randrange(config.scalars) for _ in range(2)))),
            "x_hop": rng.choice(SOME), "y_hop": rng.choice(SOME), "dst_hop": rng.choice(SOME),
        }
        names = ("by_vector", "plus", "pair", "paced", "x_step", "y_step", "narrow", "mask", "scalar_hop", "bare", "engine",
                 "high")
        operands |= {name: int(rng.random() < 0.3) for name in names if name in dict(self.isa.operands[Op.VXM])}
        if operands["pair"] and rng.random() < 0.8:
            operands |= {"function": members(self.isa.operands[Op.VXM]["function"].shape)[0], "inner": 2 * rng.randint(1, 2)}
        return self._counts(operands)

    def _product(self, pause):
        """An MXM and the VXM that takes its results in time."""
        config, rng = self.config, self.rng
        inner, middle, outer = self._three()
        wide = {"wide": rng.choice((0, 1))} if config.wide_words > 1 else {}
        if any(wide.values()) and config.wide_beats > 1:
            inner *= 2
        act, fetch = config.windows["act"], int(rng.random() < 0.15 and not any(wide.values()))
        if fetch:
            # A word is fetched in one cycle, and the VXM may take it in more.
            inner, middle, outer = 1, 1, rng.choice((1, 1, outer))
        before, of_mxm, of_vxm = [], {"inner": inner, "middle": middle}, {"middle": middle}
        if not fetch and rng.random() < 0.2:
            before, changed, of_vxm, inner, middle = self._counts_of_product(inner, middle)
            of_mxm |= changed
        turn = mxm_interval(config, {"inner": inner, "fetch": fetch})
        beats = config.granules_per_word if fetch else config.beats_per_result
        paced = int(rng.random() < 0.2)
        mxm = self.isa.make(
            Op.MXM, act=self._address(act.depth, act.first), wgt=self._address(config.wram_depth), paced=paced,
            outer=outer, wgt_step=rng.choice(SOME), wgt_hop=rng.choice(SOME), act_hop=rng.choice(SOME), wrap=rng.choice(FEW),
            fetch=fetch, **of_mxm, **wide)
        takes = self._vxm()
        takes |= {"blocks": VxmBlocks.NONE} if "blocks" in takes else {}
        takes |= {"function": Function.MULTIPLY, "stream": 1, "pair": 0, "paced": paced, "inner": beats, "middle": middle,
                  "outer": outer, "interval": turn} | of_vxm
        if config.chained and not fetch and isinstance(of_mxm["inner"], int) and isinstance(of_mxm["middle"], int) \
                and rng.random() < 0.5:
            of_mxm, takes, inner, middle, outer, turn = self._chained(takes)
            mxm = self.isa.make(Op.MXM, **mxm.operands | of_mxm)
        distance = take_offset(config, Mxm.fetch_latency(config)) if fetch else stream_offset(config, inner)
        placed = [(0, mxm), (distance, self.isa.make(Op.VXM, **takes))]
        if rng.random() < 0.1:
            placed.insert(1, (issue_cycles(config, mxm), self.isa.make(Op.SET, **self._set())))
        placed.append((placed[-1][0] + outer * middle * turn + pause + 10, self.isa.make(Op.NOP)))
        return before + lay_out(config, placed)


    def _chained(self, takes):
        """A product and a VXM that goes on with its results: (operands of the MXM; those of the VXM, made of `takes`; the
        counts of the product and the cycles of a result)."""
        rng, cols = self.rng, self.config.cols
        then = rng.choice((Then.SQUARES, Then.SILU, Then.TURN))
        beats = inner_beats(self.config, then)
        results = rng.choice((1, 1, 2)) if then is Then.TURN else 1
        inner, middle = beats + rng.choice((0, 0, 1, 2, 5)), results * rng.randint(1, 3)
        first = self._address(self.config.windows["x"].depth)
        first = Address(first.offset // (cols * results) * cols * results)
        turned = {"x_hop": results - 1, "y_hop": rng.randrange(self.config.granules // TABLE_UNIT or 1) // results * results}
        squares = {"reduce": Reduce.SUM, "into": rng.randrange(1, self.config.scalars // 2)}
        takes |= {"then": then, "by_vector": 1, "narrow": 0, "mask": 0, "to": To.MEM, "x_step": 1, "x": first, "dst": first,
                  "inner": beats, "middle": middle, "outer": 1, "interval": inner, "reduce": Reduce.NONE, "into": 0}
        takes |= squares if then is Then.SQUARES else turned if then is Then.TURN else {}
        return {"inner": inner, "middle": middle, "outer": 1}, takes, inner, middle, 1, inner


def _more_beats(operands):
    """Beats of a VXM beyond those of one whose counts are few; 0 if a count has an address register."""
    counts = [operands[name] for name in ("inner", "middle", "outer")]
    return prod(counts) if all(isinstance(count, int) for count in counts) and max(counts) > max(FEW) else 0


def drawn(author: Author) -> list[Instruction]:
    """A program of an author that can be encoded."""
    while True:
        try:
            return author.program()
        except (EncodingError, ValueError):
            continue
