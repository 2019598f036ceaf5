"""The beats of an MXM instruction: when they are, and at which addresses."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.repeat import Repeat
from ..spec.command import arrives, command_layout
from ..spec.config import Config
from ..spec.isa import Op, isa_of


class Beats(wiring.Component):
    """Makes the beats of an MXM instruction, one a cycle, with their addresses.

    Latency: the first beat is `latency(config)` cycles after `command.valid`. `Repeat` says when a
    command may come.
    Throughput: a beat a cycle.
    Cost: a `Repeat`, four adders for addresses, and a register for each operand.

    Parameters: `config`.

    Members (no flow control):
        `command : In(command_layout(config, Op.MXM))`: the instruction, in rows or as a whole
        `active : Out(1)`: there is a beat in this cycle
        `act : Out`, `wgt : Out`: addresses of its activation word and its weight word
        `first : Out(1)`, `last : Out(1)`: it begins or ends a dot product
        `fetch : Out(1)`: it fetches a word of W-RAM
        `low : Out(1)`, `high : Out(1)`: its weights are low or high halves; only where weights have
            4 bits and a word of 8-bit weights takes two beats
        `wide : Out(1)`: it reads a pair of words; only where W-RAM is read in pairs
        `overrun : Out(1)`: fault, a command came too early
    """

    @staticmethod
    def latency(config: Config) -> int:
        """Cycles from a command to its first beat.

        In a compact tile the beats wait for the rows of two more instructions: the VXM which takes
        their results, and a NOP between the two.
        """
        return Repeat.LATENCY + (6 if config.compact else 0)

    def __init__(self, config: Config):
        isa = isa_of(config)
        self._config = config
        self._delay = self.latency(config) - Repeat.LATENCY
        self._apart, self._halves, self._pairs = config.beats_per_result, config.wide_beats > 1, bool(config.paired)
        self._count_bits = isa.count_bits
        self._command = isa.command(Op.MXM)
        super().__init__({
            "command": In(command_layout(config, Op.MXM)),
            "active": Out(1),
            "act": Out(self._command["act"].shape),
            "wgt": Out(self._command["wgt"].shape),
            "first": Out(1),
            "last": Out(1),
            "fetch": Out(1),
            "overrun": Out(1),
        } | ({"low": Out(1), "high": Out(1)} if self._halves else {"wide": Out(1)} if self._pairs else {}))

    def elaborate(self, platform):
        m = Module()
        start = self.command.operands
        m.submodules.repeat = repeat = Repeat(self._count_bits, apart=bool(self._config.chained))
        delayed = Signal(self._delay + 1)
        m.d.comb += delayed[0].eq(self.command.valid)
        m.d.sync += delayed[1:].eq(delayed)

        def when_received(operand):
            return m.If(arrives(self._config, Op.MXM, self.command, operand))

        m.d.comb += [
            repeat.start.eq(delayed[self._delay]),
            repeat.inner.eq(start.inner), repeat.middle.eq(start.middle),
            repeat.outer.eq(start.outer), repeat.interval.eq(Mux(start.fetch, 1, self._apart)),
            repeat.period.eq(start.period), repeat.paced.eq(start.paced), repeat.load.period.eq(self.command.valid),
            *(repeat.load[name].eq(arrives(self._config, Op.MXM, self.command, "fetch" if name == "interval" else name))
              for name in ("inner", "middle", "outer", "interval", "paced")),
            self.active.eq(repeat.active), self.first.eq(repeat.first), self.last.eq(repeat.last),
            # Counts came while an earlier command still waits for its first beat.
            self.overrun.eq(repeat.overrun | (delayed[1:].any() & repeat.load.as_value().any())),
        ]
        # After `wrap` rounds the weights begin again.
        rounds, wrap = Signal.like(start.wrap), Signal.like(start.wrap)
        again = rounds == wrap
        with m.If(repeat.round):
            m.d.sync += rounds.eq(Mux(again, 1, rounds + 1))
        with m.If(self.command.valid):
            m.d.sync += rounds.eq(1)
        holds_activation, words = self._halves_of_weights(m, start, when_received)
        # First addresses of the turn and the round that are going on, and of the instruction.
        act_round, act_hop = Signal.like(self.act), Signal.like(self.act)
        turn, round_, whole, step, hop, next_round = (
            Signal.like(self.wgt, name=f"wgt_{part}") for part in ("turn", "round", "whole", "step", "hop", "next"))
        m.d.comb += next_round.eq(Mux(again, whole, round_ + hop))
        with m.If(repeat.active):
            m.d.sync += [self.act.eq(self.act + Mux(holds_activation, 0, 1)), self.wgt.eq(self.wgt + words)]
        with m.If(repeat.turn):
            m.d.sync += [self.act.eq(act_round), self.wgt.eq(turn + step), turn.eq(turn + step)]
        with m.If(repeat.round):
            m.d.sync += [self.act.eq(act_round + act_hop), act_round.eq(act_round + act_hop)]
            m.d.sync += [part.eq(next_round) for part in (self.wgt, turn, round_)]
        for operand, parts in {"act": (self.act, act_round), "wgt": (self.wgt, turn, round_, whole), "act_hop": (act_hop,),
                               "wgt_step": (step,), "wgt_hop": (hop,), "wrap": (wrap,), "fetch": (self.fetch,)}.items():
            with when_received(operand):
                m.d.sync += [part.eq(start[operand]) for part in parts]
        return m

    def _halves_of_weights(self, m, start, when_received):
        """(whether the next beat has this one's activations, W-RAM words that this beat reads).

        Where weights have 4 bits, those of 8 are two halves, which meet the same activation, in two beats or in one.
        """
        if not (self._halves or self._pairs):
            return C(0), C(1)
        wide, second = Signal(), Signal()
        if self._halves:
            with m.If(self.command.valid):
                m.d.sync += second.eq(0)
            with m.Elif(self.active):
                m.d.sync += second.eq(~second)
        with when_received("wide"):
            m.d.sync += wide.eq(start.wide)
        if self._pairs:
            m.d.comb += self.wide.eq(wide)
            return C(0), Mux(wide, 2, 1)
        first = wide & ~second
        m.d.comb += [self.low.eq(first), self.high.eq(wide & second)]
        return first, C(1)
