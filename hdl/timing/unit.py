"""The units of the tile, and all that is known of each.

A unit is a thing that an instruction uses in certain cycles: an engine, a stage of a pipeline, a
port of a memory. The function `uses` says which instruction uses which unit in which cycles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from ..spec.config import Config


class Memory(StrEnum):
    """A memory whose entries instructions read and write. The value names an entry in messages."""

    MEM = "MEM granule"
    WRAM = "W-RAM word"
    SCALARS = "scalar"
    CHOICE = "choice"
    """The token that the last ARGMAX chose: one entry."""
    SDRAM = "burst of external memory"


class Kind(Enum):
    """How a unit is used."""

    ENGINE = auto()
    """An instruction holds it from its start to its end, pauses between beats included."""
    STAGE = auto()
    """It serves one beat, or one granule, in a cycle."""
    ACCESS = auto()
    """It reads or writes entries of a memory."""
    SHARED = auto()
    """A port or bank that several ACCESS units share. It is no row of the timetable."""


@dataclass(frozen=True)
class Access:
    """What a unit does to a memory.

    writes    True for a write, False for a read
    depth     configuration -> number of legal addresses
    entries   configuration -> entries of the memory at one address
    window    for reads of MEM: the key of the readable part in `Config.windows`
    """

    memory: Memory
    writes: bool
    depth: Callable[[Config], int]
    entries: Callable[[Config], int] = lambda config: 1
    window: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a unit.

    label       its name for people
    kind        how it is used
    clash       message for two uses in one cycle; a unit with a clash is exclusive: it serves one
                use in a cycle
    apart_from  value of another unit that must not be in use in the same cycle; `clash`, if given,
                is the message
    partner     value of another unit that must be in use in the same cycles
    alone       message for a use without the partner
    access      what it does to a memory, for a unit that has addresses
    probed      True if the tile's probe shows it (`marey.hdl.tile.PROBE`)
    drawn       True if the timetable has a row for it, unless it is SHARED
    """

    label: str
    kind: Kind
    clash: str = ""
    apart_from: str | None = None
    partner: str | None = None
    alone: str = ""
    access: Access | None = None
    probed: bool = False
    drawn: bool = True


def _mem_words(config):
    return config.mem_depth


def _granules(config):
    return config.granules


def _granules_per_word(config):
    return config.granules_per_word


def _wram_words(config):
    return config.wram_depth


def _scalars(config):
    return config.scalars


def _reduction_scalars(config):
    """Reductions write the lower half of the scalar registers."""
    return config.scalars // 2


def _one(config):
    return 1


def _bursts(config):
    return config.memory.part.bursts if config.memory else 0


def _reads(label, memory, depth, apart_from=None, **more):
    return Facts(label, Kind.ACCESS, apart_from=apart_from, access=Access(memory, False, depth, **more))


def _writes(label, memory, depth, probed=False, clash="", apart_from=None):
    return Facts(label, Kind.ACCESS, clash=clash, apart_from=apart_from, access=Access(memory, True, depth), probed=probed)


def _move(label, memory, writes, depth, clash="", apart_from=None, **more):
    """What a MOVE reads or writes. The timetable has rows for some of them on tiles with external memory; see `rows`."""
    return Facts(label, Kind.ACCESS, clash=clash, apart_from=apart_from, access=Access(memory, writes, depth, **more),
                 drawn=False)


def _engine(label, of):
    clash = f"an instruction for {of} begins before the one before it has ended"
    return Facts(label, Kind.ENGINE, clash=clash)


class Unit(StrEnum):
    """A unit of the tile. The value is its name in traces, JSON and messages.

    Members are in the order in which an instruction reaches them; those that are rows of the
    timetable are drawn in it.
    """

    facts: Facts

    def __new__(cls, name: str, facts: Facts):
        unit = str.__new__(cls, name)
        unit._value_, unit.facts = name, facts
        return unit

    ISSUE = "issue", Facts("sequencer: issue", Kind.STAGE, probed=True)
    ACT_READ = "mem.act", _reads("MEM: activations", Memory.MEM, _mem_words, entries=_granules_per_word,
                                 window="act")
    MXM_ENGINE = "engine.mxm", _engine("MXM: engine", "the MXM")
    MXM_BEAT = "mxm", Facts("MXM: beats", Kind.STAGE, probed=True,
                            clash="two beats enter the MXM in one cycle")
    WRAM_FIRST_READ = "wram", _reads("W-RAM: first column", Memory.WRAM, _wram_words)
    WRAM_LAST_READ = "wram.late", _reads("W-RAM: last column", Memory.WRAM, _wram_words)
    DRAIN = "drain", Facts("MXM: results", Kind.STAGE, probed=True, partner="stream",
                           clash="two granules leave the MXM in one cycle",
                           alone="a granule leaves the MXM and no VXM instruction takes it")
    STREAM = "stream", Facts("VXM: takes results", Kind.STAGE, partner="drain",
                             clash="two beats of the VXM take a granule in one cycle",
                             alone="a VXM instruction takes a granule that the MXM does not deliver")
    VXM_ENGINE_0 = "engine0", _engine("VXM: engine 0", "the VXM's engine 0")
    VXM_ENGINE_1 = "engine1", _engine("VXM: engine 1", "the VXM's engine 1")
    VXM_BEAT = "vxm", Facts("VXM: beats", Kind.STAGE, probed=True,
                            clash="two beats enter the VXM in one cycle")
    X_READ = "mem.x", _reads("MEM: x", Memory.MEM, _granules, apart_from="mem.sent", window="x")
    Y_READ = "mem.y", _reads("MEM: y", Memory.MEM, _granules, window="y")
    VXM_SCALAR_READ = "scalar.vxm", _reads("scalars: VXM reads", Memory.SCALARS, _scalars)
    MEM_WRITE = "mem.write", _writes("MEM: write", Memory.MEM, _granules, probed=True, apart_from="mem.filled")
    KEY_WRITE = "wram.keys", _writes("W-RAM: key written", Memory.WRAM, _wram_words, probed=True)
    VALUE_WRITE = "wram.values", _writes("W-RAM: value written", Memory.WRAM, _wram_words, probed=True)
    REDUCTION_WRITE = "scalar.reduced", _writes("scalars: reduction", Memory.SCALARS, _reduction_scalars,
                                                probed=True, clash="two reductions end in one cycle")
    SFU_ENGINE = "engine.sfu", _engine("SFU: engine", "the scalar unit")
    SFU_BEAT = "sfu", Facts("SFU: beats", Kind.STAGE, probed=True, clash="a beat of the scalar unit "
                            "begins before the one before it has left its result")
    SFU_SCALAR_READ = "scalar.sfu", _reads("scalars: SFU reads", Memory.SCALARS, _scalars)
    SFU_SCALAR_WRITE = "scalar.computed", _writes("scalars: SFU writes", Memory.SCALARS, _scalars)
    CHOICE_WRITE = "chosen.write", _writes("choice: made", Memory.CHOICE, _one)
    CHOICE_READ = "chosen", _reads("link: token out", Memory.CHOICE, _one)
    SDRAM_ENGINE = "engine.sdram", Facts("external memory: engine", Kind.ENGINE, drawn=False,
                                         clash="a MOVE begins before the one before it has ended")
    SDRAM_READ = "sdram.read", _move("external memory: read", Memory.SDRAM, False, _bursts)
    SDRAM_WRITE = "sdram.write", _move("external memory: written", Memory.SDRAM, True, _bursts)
    MEM_SENT = "mem.sent", _move("MEM: to external memory", Memory.MEM, False, _granules, apart_from="mem.x", window="x",
                                 clash="a MOVE and a VXM read MEM at port x in one cycle")
    MEM_FILLED = "mem.filled", _move("MEM: from external memory", Memory.MEM, True, _granules, apart_from="mem.write",
                                     clash="a MOVE and a VXM write MEM in one cycle")
    WRAM_FILLED = "wram.filled", _move("W-RAM: from external memory", Memory.WRAM, True, _wram_words, apart_from="wram.cached",
                                       clash="a MOVE and a key or value are written to W-RAM in one cycle")
    # Keys and values, on a tile with external memory.
    WRAM_CACHED = "wram.cached", Facts("W-RAM: key or value", Kind.SHARED, apart_from="wram.filled")
    # A column's W-RAM with one port, of any column. The clash is reported for the instruction that reads.
    WRAM_PORT_READ = "wram.read", Facts("the port of W-RAM", Kind.SHARED, apart_from="wram.write",
                                        clash="a column's W-RAM, which has one port, is read and written")
    WRAM_PORT_WRITE = "wram.write", Facts("the port of W-RAM", Kind.SHARED, apart_from="wram.read")
    # The write port of scalar registers that are one bank.
    SCALAR_BANK = "scalar.bank", Facts("the bank of scalars", Kind.SHARED,
                                       clash="two scalars are written into one bank in one cycle")

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.facts.label

    @property
    def access(self) -> Access | None:
        """What it does to a memory; None for a unit without addresses."""
        return self.facts.access

    @property
    def rival(self) -> "Unit | None":
        """The unit that must not be in use in the same cycle, or None.

        An exclusive unit is its own rival.
        """
        if self.facts.apart_from:
            return Unit(self.facts.apart_from)
        return self if self.facts.clash else None

    @property
    def partner(self) -> "Unit | None":
        """The unit that must be in use in the same cycles; None if there is none."""
        return Unit(self.facts.partner) if self.facts.partner else None

    @property
    def is_row(self) -> bool:
        """Whether the timetable has a row for it."""
        return self.facts.kind is not Kind.SHARED and self.facts.drawn


VXM_ENGINES = (Unit.VXM_ENGINE_0, Unit.VXM_ENGINE_1)
"""The VXM's engines, by number."""
ROWS = tuple(unit for unit in Unit if unit.is_row)
"""The units that are rows of the timetable, in the order of the rows."""
MEMORY_ROWS = (Unit.SDRAM_ENGINE, Unit.WRAM_FILLED, Unit.MEM_FILLED, Unit.MEM_SENT)
"""The units that are rows on a tile with external memory, too."""


def rows(config: Config) -> tuple[Unit, ...]:
    """The units that are rows of the timetable of a tile, in the order of the rows."""
    return ROWS + (MEMORY_ROWS if config.memory else ())


PROBED = tuple(unit for unit in Unit if unit.facts.probed)
"""The units that the tile's probe shows, in the order of its bits."""
