"""The rules of an SDRAM's command bus as data, and a checker that holds a sequence of commands to them.

`GAPS` lists the least distances between commands. The checker, the memory model in `sim/sdram.py`
and the tests read the same table. The other rules are about state: what is open, and what is still
charged.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from amaranth.lib import enum

from .dram_parts import Timing


class Command(enum.Enum, shape=3):
    """What the pins RAS, CAS and WE say, active high, RAS first."""

    NOP = 0b000
    READ = 0b010
    WRITE = 0b011
    ACTIVATE = 0b100
    PRECHARGE = 0b101
    REFRESH = 0b110
    MODE = 0b111


@dataclass(frozen=True)
class Action:
    """A command in a cycle.

    cycle    the cycle in which it is on the pins
    command  the command
    bank     its bank, for ACTIVATE, READ, WRITE and PRECHARGE; None: all banks
    address  ACTIVATE: the row; READ and WRITE: the first column of the chip, a multiple of
             `BURST`
    """

    cycle: int
    command: Command
    bank: int | None = None
    address: int = 0


@dataclass(frozen=True)
class Gap:
    """A rule: no command of `then` comes less than `cycles` cycles after one of `first`.

    name    of the rule
    first   the earlier commands
    then    the later commands
    cycles  timing -> the least distance in cycles
    banks   "same": both concern one bank, or one of them all banks; "other": two different banks;
            "any": whatever banks they concern
    """

    name: str
    first: frozenset[Command]
    then: frozenset[Command]
    cycles: Callable[[Timing], int]
    banks: str = "same"


def _of(*commands):
    return frozenset(commands)


_MOVES = _of(Command.READ, Command.WRITE)
_NEED_IDLE = _of(Command.ACTIVATE, Command.REFRESH, Command.MODE)

GAPS = (
    Gap("tRCD", _of(Command.ACTIVATE), _MOVES, lambda t: t.rcd),
    Gap("tRP", _of(Command.PRECHARGE), _NEED_IDLE, lambda t: t.rp),
    Gap("tRAS", _of(Command.ACTIVATE), _of(Command.PRECHARGE), lambda t: t.ras),
    Gap("tRC", _of(Command.ACTIVATE), _NEED_IDLE, lambda t: t.rc),
    Gap("tRRD", _of(Command.ACTIVATE), _of(Command.ACTIVATE), lambda t: t.rrd, "other"),
    Gap("tRFC", _of(Command.REFRESH), _NEED_IDLE, lambda t: t.rfc),
    Gap("tWR", _of(Command.WRITE), _of(Command.PRECHARGE), lambda t: t.command_words - 1 + t.wr),
    Gap("tMRD", _of(Command.MODE), _NEED_IDLE, lambda t: t.mrd),
    Gap("read to precharge", _of(Command.READ), _of(Command.PRECHARGE), lambda t: t.command_words),
    Gap("burst", _MOVES, _MOVES, lambda t: t.command_words, "any"),
    Gap("turn-round", _of(Command.READ), _of(Command.WRITE), lambda t: t.cas + t.command_words + t.TURN_ROUND, "any"),
)
"""The least distances. "read to precharge" keeps the last words of a burst; "burst" keeps the data bus for one
burst at a time; "turn-round" is the data bus from the chip's words to ours."""

ROW_CLOSED, ROW_OPEN, OPEN_TOO_LONG, RETENTION, COMMAND_BUS = (
    "row closed", "row open", "open too long", "retention", "command bus")
STATES = (ROW_CLOSED, ROW_OPEN, OPEN_TOO_LONG, RETENTION)
"""The rules about state:

row closed     READ and WRITE need an open row in their bank
row open       ACTIVATE needs a closed bank; REFRESH and MODE need all banks closed
open too long  a row is closed at most `ras_most` cycles after its ACTIVATE
retention      ACTIVATE and REFRESH find a row charged: at most `retention` cycles after the last of them
"""
RULES = (*(gap.name for gap in GAPS), *STATES)
"""The names of all rules that the memory model watches. The checker knows one more, "command bus": a cycle has one
command, and cycles ascend."""


@dataclass
class Checker:
    """Holds a sequence of commands to the rules, for a chip that is initialised, with all banks closed.

    timing       the part, in cycles
    charged      by (bank, row): the cycle of the last ACTIVATE or REFRESH; a row that is not listed was charged in
                 cycle 0
    open         by bank: the row that is open; a closed bank is not listed
    refresh_row  the row that the next REFRESH refreshes in every bank
    """

    timing: Timing
    charged: dict[tuple[int, int], int] = field(default_factory=dict)
    open: dict[int, int] = field(default_factory=dict)
    refresh_row: int = 0
    _last: dict[tuple[Command, int], int] = field(default_factory=dict)
    _now: int = -1

    def broken(self, action: Action) -> list[str]:
        """The names of the rules that a command breaks, in the order of `RULES`; then it has happened.

        The commands of a sequence come one by one, in the order of their cycles.
        """
        if action.command is Command.NOP:
            return []
        if action.cycle <= self._now:
            return [COMMAND_BUS]
        found = [gap.name for gap in GAPS if action.command in gap.then and action.cycle < self._earliest(gap, action)]
        found += self._states(action)
        self._happen(action)
        return found

    def check(self, actions: Iterable[Action]) -> list[tuple[Action, str]]:
        """Every rule that a sequence breaks, with the command that breaks it."""
        return [(action, name) for action in actions for name in self.broken(action)]

    def earliest(self, command: Command, bank: int | None = None) -> int:
        """The first cycle in which `GAPS` allow a command, after all that have happened."""
        action = Action(0, command, bank)
        gaps = (self._earliest(gap, action) for gap in GAPS if command in gap.then)
        return max([self._now + 1, *gaps])

    def _banks(self, bank):
        return range(self.timing.part.banks) if bank is None else (bank,)

    def _earliest(self, gap, action):
        """The first cycle in which a rule allows a command."""
        mine, every = set(self._banks(action.bank)), set(range(self.timing.part.banks))
        concerned = {"same": mine, "other": every - mine, "any": every}[gap.banks]
        last = [cycle for (command, bank), cycle in self._last.items() if command in gap.first and bank in concerned]
        return max(last) + gap.cycles(self.timing) if last else 0

    def _states(self, action):
        banks = self._banks(action.bank)
        match action.command:
            case Command.READ | Command.WRITE:
                return [] if action.bank in self.open else [ROW_CLOSED]
            case Command.ACTIVATE:
                open_now = [ROW_OPEN] if action.bank in self.open else []
                return open_now + self._retention(action.cycle, banks, action.address)
            case Command.REFRESH:
                return ([ROW_OPEN] if self.open else []) + self._retention(action.cycle, banks, self.refresh_row)
            case Command.PRECHARGE:
                late = [bank for bank in banks if bank in self.open
                        and action.cycle - self._last[Command.ACTIVATE, bank] > self.timing.ras_most]
                return [OPEN_TOO_LONG] if late else []
            case _:
                return [ROW_OPEN] if self.open else []

    def _retention(self, cycle, banks, row):
        lost = [bank for bank in banks if cycle - self.charged.get((bank, row), 0) > self.timing.retention]
        return [RETENTION] if lost else []

    def _happen(self, action):
        self._now = action.cycle
        for bank in self._banks(action.bank):
            match action.command:
                case Command.ACTIVATE:
                    self.open[bank] = action.address
                    self.charged[bank, action.address] = action.cycle
                case Command.REFRESH:
                    self.charged[bank, self.refresh_row] = action.cycle
                case Command.PRECHARGE if self.open.pop(bank, None) is None:
                    # A bank that is closed already is not precharged anew.
                    continue
            self._last[action.command, bank] = action.cycle
        if action.command is Command.REFRESH:
            self.refresh_row = (self.refresh_row + 1) % self.timing.part.rows
