"""External memory for tests: a small chip, sequences of commands, and an engine wired to the model of a chip."""

from dataclasses import replace

from amaranth import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from marey.hdl.dram import DramEngine, Pins
from marey.hdl.dram.pins import ALL_BANKS_BIT
from marey.hdl.spec.dram_parts import BURST, Timing, part
from marey.hdl.spec.dram_rules import Action, Checker, Command
from marey.sim.sdram import WATCHED, SdramModel

FULL_SIZE = part("IS42S16160G-7")
SMALL = replace(FULL_SIZE, name="small", rows=16, columns=32, refreshes=16, retention_ns=16 * 7_812, power_up_ns=500)
"""The ULX3S's chip with fewer rows and columns; a REFRESH is due as often as in the whole chip."""
TIMING = replace(SMALL.at(100), rc=9, ras_most=900, retention=16 * 160)
"""At 100 MHz, with one distance longer and two shorter, so that each rule can be broken by itself, and soon."""
TIMINGS = {1: TIMING, 2: replace(SMALL.at(70, 2), rc=9, mrd=2, ras_most=900, retention=16 * 160)}
"""The same by the chip's cycles in one of the tile's. At two a WRITE takes four of the tile's."""


def pin_values(action: Action) -> tuple[int, int, int]:
    """Command, bank and address pins of an action."""
    address = 1 << ALL_BANKS_BIT if action.command is Command.PRECHARGE and action.bank is None else action.address
    return action.command.value, action.bank or 0, address


def action_of(cycle: int, command: int, bank: int, address: int) -> Action | None:
    """The action that command, bank and address pins say; None for NOP."""
    match Command(command):
        case Command.NOP:
            return None
        case Command.REFRESH | Command.MODE:
            return Action(cycle, Command(command))
        case Command.PRECHARGE:
            return Action(cycle, Command.PRECHARGE, None if address >> ALL_BANKS_BIT & 1 else bank)
        case _:
            return Action(cycle, Command(command), bank, address)


def drives(actions: list[Action], timing: Timing) -> set[int]:
    """The cycles in which the tile drives the data bus."""
    return {action.cycle + word for action in actions if action.command is Command.WRITE
            for word in range(timing.command_words)}


def draw_legal(checker: Checker, random, commands: int, now: int) -> list[Action]:
    """A drawn sequence that breaks no rule, from cycle `now` on; it ends with all banks closed. It happens in `checker`."""
    timing, found, refreshed = checker.timing, [], now

    def add(command, bank=None, address=0):
        cycle = max(checker.earliest(command, bank), now) + random.choice((0, 0, 0, 1, 2, 6))
        found.append(Action(cycle, command, bank, address))
        assert checker.broken(found[-1]) == []

    def close_all():
        if checker.open:
            add(Command.PRECHARGE)

    for _ in range(commands):
        if found and found[-1].cycle - refreshed > timing.interval // 2:
            close_all()
            add(Command.REFRESH)
            refreshed = found[-1].cycle
        bank = random.randrange(timing.part.banks)
        if bank not in checker.open:
            choice = random.choice((Command.ACTIVATE,) * 4 + (() if checker.open else (Command.REFRESH, Command.MODE)))
            if choice is Command.ACTIVATE:
                add(choice, bank, random.randrange(timing.part.rows))
            else:
                add(choice)
            continue
        choice = random.choice((Command.READ, Command.READ, Command.WRITE, Command.WRITE, Command.PRECHARGE, None))
        if choice is None:
            close_all()
        else:
            add(choice, bank, random.randrange(timing.part.columns // timing.command_words) * BURST)
    close_all()
    add(Command.REFRESH)
    return found


class EngineAndChip(wiring.Component):
    """An engine wired to the model of a chip; with `direct`, the testbench has the chip's pins instead.

    Members: those of `DramEngine`, without `pins`; `chip : In(Pins(part))` with `direct : In(1)`; of the model `broken`,
    `lost` and `refreshes`; `ever : Out`, the rules broken since `clear : In(1)`; `overran : Out(1)`, whether there was an
    overrun; `seen : Out(Pins(part))`: the pins.
    """

    def __init__(self, timing):
        self._timing, self._engine = timing, DramEngine(timing)
        ports = {name: member for name, member in self._engine.signature.members.items() if name != "pins"}
        super().__init__(ports | {
            "chip": In(Pins(timing.part)), "direct": In(1), "clear": In(1), "broken": Out(len(WATCHED)),
            "ever": Out(len(WATCHED)), "overran": Out(1), "lost": Out(32), "refreshes": Out(32), "seen": Out(Pins(timing.part)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self._engine
        m.submodules.model = model = SdramModel(self._timing, strict=False)
        for name, member in engine.signature.members.items():
            if name != "pins":
                mine, its = getattr(self, name), getattr(engine, name)
                m.d.comb += its.eq(mine) if member.flow is In else mine.eq(its)
        for name in ("command", "bank", "address", "write", "drive"):
            m.d.comb += getattr(model.pins, name).eq(Mux(self.direct, getattr(self.chip, name), getattr(engine.pins, name)))
            m.d.comb += getattr(self.seen, name).eq(getattr(model.pins, name))
        m.d.comb += [pins.read.eq(model.pins.read) for pins in (engine.pins, self.chip)]
        m.d.comb += [self.broken.eq(model.broken), self.lost.eq(model.lost), self.refreshes.eq(model.refreshes)]
        m.d.sync += [self.ever.eq(Mux(self.clear, 0, self.ever | model.broken)), self.overran.eq(self.overran | self.overrun)]
        return m
