"""The engine that moves bursts between the tile and an SDRAM, and refreshes it."""

from amaranth import *
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from ..spec.dram_parts import BURST, Timing
from ..spec.dram_rules import Command
from .bursts import BurstCounter
from .bus import DramBus
from .pins import ALL_BANKS_BIT, Pins, burst_bits
from .plan import Plan
from .power_up import PowerUp, mode
from .slot import Slot


class State(enum.Enum, shape=2):
    """What the engine does.

    CLOSED  all banks are precharged, or soon will be; it waits for a move, and refreshes
    OPENS   it waits for a REFRESH to end; then rows are opened
    STREAMS it moves bursts
    """

    CLOSED = 0
    OPENS = 1
    STREAMS = 2


class DramEngine(wiring.Component):
    """Moves a range of bursts from or to an SDRAM; between moves it refreshes the chip.

    A move is one stream of READs or WRITEs, 8 cycles apart; it pauses only for REFRESH. Time runs in
    slots of 8 phases. Phase 0 has the READ or WRITE of the slot's burst, or of its first part (see
    `Slot`); a late phase has ACTIVATE for the next slot if that begins a row; an early one PRECHARGE for
    the row that the slot before has left. The slot before the first (`lead`) has an ACTIVATE only, and the slot after the last
    (`tail`) a PRECHARGE of all banks only.

    Latency: `Plan` has all distances from `start`. A command is on the pins `pin_latency(timing)` cycles
    after the cycle that `Plan` gives. Word i of burst k is taken from `word` in cycle `Plan.burst(k)` + i
    from `start`, `SOON` cycles after `soon`; it is at `data`, with `arrived`, in cycle
    `Plan.burst(k)` + i + `read_latency(timing)`.
    Throughput: a word a cycle; of `Plan.period` cycles, `Plan.pause` go to REFRESH.
    Cost: see docs/memory.md.

    Parameters: `timing`; `count_bits`, the width of a number of bursts.

    Members (no flow control):
        `start : In(1)`: a move begins; the operands are valid in this cycle
        `write : In(1)`: to the SDRAM, not from it
        `stop : In(1)`: the burst at hand, or one of the next two, is the last of the move
        `address : In`: the first burst, `count : In(count_bits)`: bursts, at least 1
        `opens : Out(1)`: the first ACTIVATE of a move is in this cycle
        `soon : Out(1)`: a word is taken in `SOON` cycles
        `word : In(bus_bits)`: the word that is taken in this cycle, if one is
        `arrived : Out(1)`, `data : Out(bus_bits)`: a word that was read
        `ready : Out(1)`: the chip is initialised
        `busy : Out(1)`: a move is at work
        `overrun : Out(1)`: fault, a move started before `ready`, or before the one before it had ended
        `pins : Out(Pins(part))`: the chip; registers of this component are at all of them
    """

    SOON = 2

    @staticmethod
    def pin_latency(timing: Timing) -> int:
        """Cycles from a command of `Plan` to its cycle on the pins."""
        return DramBus.latency(timing)

    @staticmethod
    def read_latency(timing: Timing) -> int:
        """Cycles from a READ of `Plan` to its first word at `data`: the chip's, and the registers each way."""
        return DramBus.latency(timing) + timing.cas + 1

    def __init__(self, timing: Timing, count_bits: int = 16):
        self._timing, self._plan, self._count_bits = timing, Plan(timing), count_bits
        part = timing.part
        super().__init__({
            "start": In(1), "stop": In(1), "write": In(1), "address": In(sum(burst_bits(part))), "count": In(count_bits),
            "opens": Out(1), "soon": Out(1), "word": In(part.bus_bits), "arrived": Out(1), "data": Out(part.bus_bits),
            "ready": Out(1), "busy": Out(1), "overrun": Out(1), "pins": Out(Pins(part)),
        })

    def elaborate(self, platform):
        m = Module()
        t, plan = self._timing, self._plan
        m.submodules.power_up = power_up = PowerUp(t)
        m.submodules.bursts = bursts = BurstCounter(t.part, self._count_bits, plan.group)
        m.submodules.slot = slot = Slot(plan)
        m.submodules.bus = bus = DramBus(t)
        state, left, phase = Signal(State), Signal(range(max(plan.takeover, t.rp))), slot.phase
        streams, moves, more, writing, fresh = (Signal(name=name) for name in ("streams", "moves", "more", "writing", "fresh"))
        since, lead, left_row, tail = Signal(range(plan.period + 1), init=plan.period), Signal(), Signal(), Signal()
        m.d.comb += [
            self.ready.eq(power_up.done), self.busy.eq((state != State.CLOSED) | (left != 0) | ~bursts.empty),
            self.overrun.eq(self.start & (self.busy | ~self.ready)), self.opens.eq(streams & fresh),
            streams.eq(state == State.STREAMS), moves.eq(streams & ~lead & ~tail), more.eq(lead | ~(tail | bursts.stops)),
            self.soon.eq(streams & writing & Mux(phase < BURST - self.SOON, moves, more)),
            bursts.load.eq(self.start), bursts.stop.eq(self.stop), bursts.address.eq(self.address), bursts.count.eq(self.count),
            bursts.step.eq(moves & (phase == BURST - 1)),
            slot.here.eq(bursts.here), slot.after.eq(bursts.after), slot.lead.eq(lead), slot.moves.eq(moves),
            slot.writing.eq(writing), slot.opens.eq(more & (lead | bursts.new_row)), slot.closes.eq(moves & left_row),
            slot.tail.eq(tail),
            bus.command.eq(Mux(streams, slot.command, Command.NOP)), bus.bank.eq(slot.bank), bus.address.eq(slot.address),
            bus.reads.eq(moves & ~writing), bus.drives.eq(moves & writing), bus.word.eq(self.word),
            self.arrived.eq(bus.arrived), self.data.eq(bus.data),
        ]
        wiring.connect(m, bus.pins, wiring.flipped(self.pins))
        m.d.sync += since.eq(Mux(bus.command == Command.REFRESH, 1, since + (since != plan.period)))
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Switch(state):
            with m.Case(State.CLOSED), m.If(left == 0):
                with m.If(self.start):
                    m.d.sync += [writing.eq(self.write), fresh.eq(1)]
                with m.If(self.start | ~bursts.empty):
                    m.d.sync += [left.eq(plan.takeover - 1), state.eq(State.OPENS)]
                # A move begins with a REFRESH, if none is under way; one that goes on after a pause, too.
                with m.If(Mux(self.start, since >= t.rfc, ~bursts.empty | (since == plan.period))):
                    m.d.comb += bus.command.eq(Command.REFRESH)
            with m.Case(State.OPENS), m.If(left == 1):
                m.d.sync += [state.eq(State.STREAMS), phase.eq(BURST - plan.row), lead.eq(1), left_row.eq(0)]
            with m.Case(State.STREAMS):
                m.d.sync += [phase.eq(phase + 1), fresh.eq(0)]
                with m.If(phase == BURST - 1):
                    m.d.sync += [lead.eq(0), tail.eq(~more), left_row.eq(moves & bursts.new_row)]
                with m.If(tail & (phase == plan.close - BURST)):
                    m.d.sync += [state.eq(State.CLOSED), tail.eq(0), left.eq(t.rp - 1)]
        with m.If(~power_up.done):
            m.d.comb += [bus.command.eq(power_up.command),
                         bus.address.eq(Mux(power_up.command == Command.MODE, mode(t), 1 << ALL_BANKS_BIT))]
        return m
