"""A model of an SDRAM that holds its commands to the rules, and that forgets what is not refreshed.

It is an Amaranth component, for simulation only: Amaranth's simulator runs it as it is, Verilator
what `marey.hdl.verilog.convert` makes of it.
"""

from amaranth import Array, Assert, Cat, Format, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from ..hdl.dram.pins import ALL_BANKS_BIT, Pins
from ..hdl.spec.config import Config, address_bits
from ..hdl.spec.dram_parts import Timing
from ..hdl.spec.dram_rules import OPEN_TOO_LONG, RETENTION, ROW_CLOSED, ROW_OPEN, RULES, Command
from ..hdl.tile import Tile
from .sdram_gaps import GapWatch

CLOCK_BITS = 32
"""Width of the model's clock, in cycles: a row that waits longer than 2**32 cycles is taken to wait less."""
LOSS_BITS = 8
"""Width of the number that says how often a row was lost."""
BUS_CONFLICT = "data bus"
"""The rule that the tile drives the bus in the cycles of words that are written, and in no others."""
WATCHED = (*RULES, BUS_CONFLICT)
"""The rules by the bits of `SdramModel.broken`."""


class SdramModel(Component):
    """An SDRAM at its pins, initialised, with all banks closed.

    A command on the pins in cycle c is taken at the end of that cycle. The words of a READ are on the
    pins from cycle c + CAS latency on.

    Each row has a charge: the cycle of its last ACTIVATE or REFRESH. A row that is found later than
    `Timing.retention` cycles after it has lost its words: they come back wrong from then on, each
    until it is written again. Wrong means that every byte differs in some bit.

    Parameters: `timing`; `strict`: a broken rule fails an assertion, which names it. Where reading is the refresh, rows
    that hold nothing are not refreshed in runs, and RETENTION is not asserted: what is lost comes back wrong.

    Members (no flow control):
        `pins : In(Pins(part))`
        `broken : Out(len(WATCHED))`: the rules that a command has broken, by `WATCHED`: 1 cycle after it, RETENTION 2
        `lost : Out(32)`: rows that were found without charge
        `refreshes : Out(32)`: REFRESH commands
    """

    def __init__(self, timing: Timing, strict: bool = True):
        self._timing, self._strict = timing, strict
        super().__init__({"pins": In(Pins(timing.part)), "broken": Out(len(WATCHED)), "lost": Out(32), "refreshes": Out(32)})

    def elaborate(self, platform):
        m = Module()
        part, pins = self._timing.part, self.pins
        m.submodules.gaps = gaps = GapWatch(self._timing)
        m.submodules.words = words = Words(self._timing)
        found = {name: [] for name in WATCHED}
        # The chip has no reset.
        now, refresh_row = Signal(CLOCK_BITS, reset_less=True), Signal(address_bits(part.rows), reset_less=True)
        every = (pins.command == Command.PRECHARGE) & pins.address[ALL_BANKS_BIT] | (pins.command == Command.REFRESH) | (
            pins.command == Command.MODE)
        m.d.sync += now.eq(now + 1)
        with m.If(pins.command == Command.REFRESH):
            m.d.sync += [refresh_row.eq(Mux(refresh_row == part.rows - 1, 0, refresh_row + 1)),
                         self.refreshes.eq(self.refreshes + 1)]
        losses = []
        for number in range(part.banks):
            m.submodules[f"bank{number}"] = bank = Bank(self._timing)
            mine = every | (pins.bank == number)
            m.d.comb += [bank.command.eq(Mux(mine, pins.command, Command.NOP)), bank.now.eq(now),
                         bank.row.eq(Mux(pins.command == Command.REFRESH, refresh_row, pins.address)),
                         gaps.closed[number].eq(~bank.open), words.open_rows[number].eq(bank.open_row),
                         words.losses[number].eq(bank.losses)]
            for name, port in ((ROW_CLOSED, bank.was_closed), (ROW_OPEN, bank.was_open), (OPEN_TOO_LONG, bank.open_too_long),
                               (RETENTION, bank.lost)):
                found[name].append(port)
            losses.append(bank.lost)
        m.d.comb += [gaps.command.eq(pins.command), gaps.bank.eq(pins.bank), gaps.every.eq(every)]
        wiring.connect(m, wiring.flipped(self.pins), words.pins)
        m.d.sync += self.lost.eq(self.lost + sum(losses))
        broken = Signal(len(WATCHED))
        m.d.comb += broken.eq(Cat(gaps.broken, *(Cat(found[name]).any() for name in RULES[len(gaps.broken):]), words.conflict))
        m.d.sync += self.broken.eq(broken)
        if self._strict:
            for bit, name in enumerate(WATCHED):
                if name == RETENTION and self._timing.sweep:
                    continue
                m.d.sync += Assert(~broken[bit], Format("SDRAM, cycle {}: a command breaks the rule " + name, now))
        return m


def simulated(config: Config) -> Component:
    """The tile, for simulation: with the model of its chip, if it has external memory. Its ports are `rx`, `tx`, `probe`."""
    return TileAndChip(config) if config.memory else Tile(config)


class TileAndChip(Component):
    """A tile with external memory, and the model of the chip at its pins.

    Parameters: `config`. Members: `rx`, `tx`, `probe`, as those of `Tile`.
    """

    def __init__(self, config: Config):
        self._tile, self._timing = Tile(config), config.memory
        super().__init__({name: member for name, member in self._tile.signature.members.items() if name != "sdram"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tile = tile = self._tile
        m.submodules.chip = chip = SdramModel(self._timing)
        wiring.connect(m, tile.sdram, chip.pins)
        wiring.connect(m, wiring.flipped(self.rx), tile.rx)
        wiring.connect(m, wiring.flipped(self.tx), tile.tx)
        m.d.comb += self.probe.eq(tile.probe)
        return m


class Bank(Component):
    """The rows of a bank: which one is open, and how charged each is.

    Latency: `open`, `open_row` and `lost` follow a command by 1 cycle, `losses` by 2; the other faults
    are told in its cycle.

    Parameters: `timing`.

    Members (no flow control):
        `command : In(Command)`: for this bank, `row : In`: the row of ACTIVATE or REFRESH
        `now : In(CLOCK_BITS)`: the cycle
        `open : Out(1)`, `open_row : Out`: the open row
        `losses : Out(LOSS_BITS)`: how often the open row was lost
        `was_closed`, `was_open`, `open_too_long`, `lost : Out(1)`: the command breaks the rule ROW_CLOSED, ROW_OPEN,
            OPEN_TOO_LONG, RETENTION
    """

    def __init__(self, timing: Timing):
        self._timing = timing
        super().__init__({
            "command": In(Command), "row": In(address_bits(timing.part.rows)), "now": In(CLOCK_BITS),
            "open": Out(1), "open_row": Out(address_bits(timing.part.rows)), "losses": Out(LOSS_BITS),
            "was_closed": Out(1), "was_open": Out(1), "open_too_long": Out(1), "lost": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        charge = data.StructLayout({"time": CLOCK_BITS, "losses": LOSS_BITS})
        m.submodules.charges = charges = Memory(shape=unsigned(charge.size), depth=self._timing.part.rows, init=[])
        read, write = charges.read_port(), charges.write_port()
        state, kept = data.View(charge, read.data), data.View(charge, write.data)
        opened, row, charging, since = Signal(CLOCK_BITS), Signal.like(self.row), Signal(), Signal(CLOCK_BITS)
        opens, moves = self.command == Command.ACTIVATE, (self.command == Command.READ) | (self.command == Command.WRITE)
        whole = (self.command == Command.REFRESH) | (self.command == Command.MODE)
        m.d.comb += [
            read.addr.eq(self.row), read.en.eq(1), since.eq(self.now - opened),
            self.was_closed.eq(moves & ~self.open), self.was_open.eq((opens | whole) & self.open),
            self.open_too_long.eq((self.command == Command.PRECHARGE) & self.open & (since > self._timing.ras_most)),
            # A cycle later: the charge has been read, and is renewed.
            self.lost.eq(charging & ((self.now - 1 - state.time)[:CLOCK_BITS] > self._timing.retention)),
            write.addr.eq(row), write.en.eq(charging), kept.time.eq(self.now - 1),
            kept.losses.eq(state.losses + self.lost),
        ]
        m.d.sync += [row.eq(self.row), charging.eq(opens | (self.command == Command.REFRESH))]
        with m.If(charging & self.open):
            m.d.sync += self.losses.eq(kept.losses)
        with m.If(opens):
            m.d.sync += [self.open.eq(1), self.open_row.eq(self.row), opened.eq(self.now)]
        with m.Elif(self.command == Command.PRECHARGE):
            m.d.sync += self.open.eq(0)
        return m


class Words(Component):
    """The words of all banks, and the data bus.

    Parameters: `timing`.

    Members (no flow control):
        `pins : In(Pins(part))`
        `open_rows : In`, `losses : In`: of each bank, see `Bank`
        `conflict : Out(1)`: fault, the tile drives the bus in a cycle in which it should not, or does not in one in which
            it should
    """

    def __init__(self, timing: Timing):
        self._timing = timing
        part = timing.part
        super().__init__({
            "pins": In(Pins(part)), "open_rows": In(address_bits(part.rows)).array(part.banks),
            "losses": In(LOSS_BITS).array(part.banks), "conflict": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        timing, part, pins = self._timing, self._timing.part, self.pins
        m.submodules.words = words = Memory(shape=unsigned(part.bus_bits), depth=part.banks * part.rows * part.columns, init=[])
        read, write = words.read_port(), words.write_port()
        begins, writes = Signal(), pins.command == Command.WRITE
        left, column = Signal(range(timing.command_words)), Signal(range(part.columns))
        bank, writing = Signal.like(pins.bank), Signal()
        here, of, put = Signal.like(column), Signal.like(bank), Signal()
        rows, losses = Array(self.open_rows), Array(self.losses)
        m.d.comb += [
            begins.eq((pins.command == Command.READ) | writes),
            here.eq(Mux(begins, pins.address // timing.rate, column)), of.eq(Mux(begins, pins.bank, bank)),
            put.eq(Mux(begins, writes, writing & (left != 0))),
            read.addr.eq(Cat(here, of, rows[of])), read.en.eq(1), self.conflict.eq(pins.drive != put),
        ]
        # A command stays among the columns of its words.
        low = len(left)
        m.d.sync += [column.eq(Cat((here + 1)[:low], here[low:])), bank.eq(of)]
        with m.If(begins):
            m.d.sync += [left.eq(timing.command_words - 1), writing.eq(writes)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        # What is written is kept as the row's losses make it, so that it comes back right.
        stored, lost = Signal(part.bus_bits), Signal(LOSS_BITS)
        word, last_bank = Signal.like(stored), Signal.like(bank)
        mask = lost.replicate(part.bus_bits // LOSS_BITS)
        m.d.sync += [write.addr.eq(read.addr), write.en.eq(put), word.eq(pins.write), last_bank.eq(of)]
        m.d.comb += [lost.eq(losses[last_bank]), write.data.eq(word ^ mask), stored.eq(read.data ^ mask)]
        for stage in range(timing.cas - 1):
            later = Signal.like(stored, name=f"stage{stage}")
            m.d.sync += later.eq(stored)
            stored = later
        m.d.comb += pins.read.eq(stored)
        return m
