"""The sequencer: one program counter that starts every slice at its appointed cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.host import HostBus
from ..spec.command import begin_layout, command_layout, slices
from ..spec.config import Config
from ..spec.isa import POSITION_BITS, WAIT_BITS, Op
from .decoder import Decoder
from .fetch import Fetch
from .rows import Rows

SLOW = (Op.HALT, Op.INDEX, Op.PERIOD, Op.LOOP, Op.TOKEN)
"""Operations whose result the next one waits for: they take `SLOW_CYCLES`, on a tile that is not compact. STEP, which only
a tile with external memory has, is slow, too."""
SLOW_CYCLES = max(Fetch.LATENCY + 1, Decoder.PRODUCT_CYCLES + 2)


class Sequencer(wiring.Component):
    """Executes the program: starts the slices, counts loops, tokens and cycles.

    ::

        fetch --> instruction --> decode --> commands of the slices
          ^           issue: this cycle  | address registers, loop counters, position, period
          +------------------------------+ LOOP, TOKEN

    A compact tile has `Rows` instead of fetch and decoder.

    Latency: after `start` in cycle 0 the first instruction issues in cycle `first_issue(config)`.
    The one after an instruction that issued in cycle t issues in cycle t + `issue_cycles(config,
    op)` + wait. A slice has its whole command `latency(config, op)` cycles after the issue. TOKEN
    looks at `chosen` `token_latency(config)` cycles after its issue. A HALT that issued in cycle t
    ends the run: `cycles` is then t + `HALT_CYCLES`, the cycles in which `running` was 1.
    Throughput: an instruction every `issue_cycles(config, op)` cycles.
    Cost: the program memory, and a `Fetch` with a `Decoder`, or `Rows`.

    Parameters: `config`.

    Members (no flow control):
        `start : In(1)`, `begin : In(begin_layout(config))`: begin a run
        `running : Out(1)`: a run is on
        `cycles : Out(32)`: of this run, or the last
        `issuing : Out(1)`: an instruction issues in this cycle
        `mxm : Out`, `vxm : Out`, `sfu : Out`, and `move : Out` if there is external memory: commands
            of the slices
        `position : Out(POSITION_BITS)`, `token : Out(config.token_bits)`: of this step
        `chosen : In(config.token_bits)`: by the VXM's last ARGMAX
        `made : Out(1)`: the token is a new one, for one cycle
        `host : In(HostBus)`: the link's bus, to the program memory; used between runs only
    """

    HALT_CYCLES = 0

    @staticmethod
    def token_latency(config: Config) -> int:
        """Cycles from the issue of a TOKEN to the cycle in which it reads `chosen`."""
        return Rows.TOKEN_LATENCY if config.compact else 0

    @staticmethod
    def latency(config: Config, op: Op) -> int:
        """Cycles from an issue to the slice's command."""
        return Rows.latency(op) if config.compact else 1

    @staticmethod
    def first_issue(config: Config) -> int:
        """Cycles from start to the first issue."""
        return Rows.FIRST_ISSUE if config.compact else Fetch.LATENCY

    @staticmethod
    def issue_cycles(config: Config, op: Op, bits: int = 0, right: int = 0) -> int:
        """Cycles from an issue to the next, without a wait; `bits` and `right` are an INDEX's."""
        if config.compact:
            return Rows.issue_cycles(op, bits, right)
        return SLOW_CYCLES if op in (*SLOW, Op.STEP) else 1

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "start": In(1),
            "begin": In(begin_layout(config)),
            "running": Out(1),
            "cycles": Out(32),
            "issuing": Out(1),
            **{op.name.lower(): Out(command_layout(config, op)) for op in slices(config)},
            "position": Out(POSITION_BITS),
            "token": Out(config.token_bits),
            "chosen": In(config.token_bits),
            "made": Out(1),
            "host": In(HostBus),
        })

    def elaborate(self, platform):
        m = Module()
        halt = (self._in_rows if self._config.compact else self._at_once)(m)
        with m.If(self.running):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(halt):
            m.d.sync += self.running.eq(0)
        with m.If(self.start):
            m.d.sync += [self.running.eq(1), self.cycles.eq(0)]
        return m

    def _in_rows(self, m):
        """Executes the instructions of a compact tile. Returns whether the run is over."""
        m.submodules.rows = rows = Rows(self._config)
        wiring.connect(m, wiring.flipped(self.host), rows.host)
        m.d.comb += [getattr(rows, name).eq(getattr(self, name)) for name in ("running", "start", "begin", "chosen")]
        m.d.comb += [getattr(self, name).eq(getattr(rows, name))
                     for name in ("issuing", "mxm", "vxm", "sfu", "position", "token", "made")]
        return rows.halt

    def _at_once(self, m):
        """Executes instructions that are fetched whole. Returns whether the run is over."""
        m.submodules.fetch = fetch = Fetch(self._config)
        m.submodules.decoder = decoder = Decoder(self._config)
        wiring.connect(m, wiring.flipped(self.host), fetch.host)
        instruction, issue = fetch.instruction, self.issuing
        # Cycles that are still to wait: first `wait`, then those of blocks, then periods; `waiting` is 1 while there
        # are any. After a slow operation `pause` comes first.
        wait, waiting, pause = Signal(WAIT_BITS), Signal(), Signal(SLOW_CYCLES - 1)
        nop = instruction.operands.nop
        blocks, turns = Signal.like(nop.blocks), Signal.like(nop.turns)
        m.d.comb += issue.eq(self.running & fetch.ready & ~waiting & ~pause[0])
        m.d.sync += pause.eq(pause >> 1)
        with m.If(issue):
            is_nop = instruction.op == Op.NOP
            m.d.sync += [
                wait.eq(instruction.wait), blocks.eq(Mux(is_nop, nop.blocks, 0)), turns.eq(Mux(is_nop, nop.turns, 0)),
                waiting.eq((instruction.wait != 0) | (is_nop & ((nop.turns != 0) | (nop.blocks != 0)))),
            ]
            slow = (*SLOW, Op.STEP) if self._config.memory else SLOW
            with m.If(Cat(instruction.op == op for op in slow).any()):
                m.d.sync += pause.eq(~0)
        with m.Elif(waiting & fetch.ready & ~pause[0]):
            left = Signal(WAIT_BITS)
            with m.If(wait != 0):
                m.d.comb += left.eq(wait)
                m.d.sync += waiting.eq((wait != 1) | (blocks != 0) | (turns != 0))
            with m.Elif(blocks != 0):
                m.d.comb += left.eq((decoder.blocks << blocks) >> 1)
                m.d.sync += [blocks.eq(0), waiting.eq((left != 1) | (turns != 0))]
            with m.Else():
                m.d.comb += left.eq(decoder.period)
                m.d.sync += [turns.eq(turns - 1), waiting.eq((left != 1) | (turns != 1))]
            m.d.sync += wait.eq(left - 1)
        with m.If(self.start):
            m.d.sync += [waiting.eq(0), pause.eq(0)]

        m.d.comb += [
            fetch.running.eq(self.running), fetch.take.eq(issue),
            fetch.go.eq(self.start | decoder.jump), fetch.entry.eq(Mux(self.start, self.begin.entry, decoder.target)),
            decoder.issued.eq(issue), decoder.instruction.eq(instruction), decoder.start.eq(self.start),
            decoder.begin.eq(self.begin), decoder.chosen.eq(self.chosen),
            *(getattr(self, op.name.lower()).eq(getattr(decoder, op.name.lower())) for op in slices(self._config)),
            self.position.eq(decoder.position), self.token.eq(decoder.token), self.made.eq(decoder.made),
        ]
        return decoder.halt
