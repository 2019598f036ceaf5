"""External memory chips as data: SDR SDRAMs, with their sizes, and their times in nanoseconds and in cycles."""

from dataclasses import dataclass, replace
from math import ceil, floor

from .errors import MareyError

BURST = 8
"""Words of the chip's bus that one READ or WRITE moves: the burst length in its mode register. Also the words of the tile's
bus in a burst that an instruction counts; see `Timing.rate`."""


class PartError(MareyError):
    """A part that is not known, or a clock at which a part cannot run. One line that says why."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """An SDR SDRAM: how large it is, and how long it takes. Immutable and hashable.

    ============== =======================================================================
    name           of the chip
    bus_bits       width of the data bus: a word
    banks          banks, each of which has one row open or none
    rows           rows of a bank
    columns        words of a row
    refreshes      REFRESH commands that must be issued within `retention_ns`; each refreshes the
                   next row of every bank
    retention_ns   time for which a row keeps its charge without ACTIVATE or REFRESH (tREF)
    rcd_ns         ACTIVATE to READ or WRITE in the bank (tRCD)
    rp_ns          PRECHARGE to ACTIVATE in the bank, or to REFRESH (tRP)
    ras_ns         ACTIVATE to PRECHARGE in the bank, the least (tRAS)
    ras_most_ns    ACTIVATE to PRECHARGE in the bank, the most
    rc_ns          ACTIVATE to ACTIVATE in the bank (tRC)
    rfc_ns         REFRESH to the next REFRESH or ACTIVATE (tRFC)
    wr_ns          last word written to PRECHARGE (tWR, in some data sheets tDPL or tRDL)
    rrd_ns         ACTIVATE to ACTIVATE in another bank (tRRD)
    mrd_cycles     cycles from MODE, which sets the mode register, to the next command (tMRD)
    power_up_ns    time from power to the first command
    cas            cycles from READ to the first word (CAS latency), and the largest clock in MHz with it:
                   ((cycles, MHz), ...), the fewest cycles first
    source         where the figures come from
    ============== =======================================================================
    """

    name: str
    bus_bits: int
    banks: int
    rows: int
    columns: int
    refreshes: int
    retention_ns: int
    rcd_ns: float
    rp_ns: float
    ras_ns: float
    ras_most_ns: float
    rc_ns: float
    rfc_ns: float
    wr_ns: float
    rrd_ns: float
    mrd_cycles: int = 2
    power_up_ns: int = 200_000
    cas: tuple[tuple[int, float], ...]
    source: str

    @property
    def bytes(self) -> int:
        """Bytes in the chip."""
        return self.banks * self.rows * self.columns * self.bus_bits // 8

    @property
    def burst_bytes(self) -> int:
        """Bytes of a burst."""
        return BURST * self.bus_bits // 8

    @property
    def bursts(self) -> int:
        """Bursts in the chip. Their numbers are the addresses of instructions: row, then bank, then column."""
        return self.banks * self.rows * self.columns // BURST

    def wide(self, rate: int) -> "Part":
        """The part as a tile sees it whose cycle has `rate` of the chip's: so many words of its bus are one."""
        return replace(self, bus_bits=self.bus_bits * rate, columns=self.columns // rate)

    def at(self, clock_mhz: float, rate: int = 1) -> "Timing":
        """The part's times in cycles of a tile's clock, of which each has `rate` cycles of the chip's; commands are in the
        first of them. PartError if the chip's clock is too fast for it."""
        chip_mhz = clock_mhz * rate
        # The last word of a pair that is read comes in the first half of a cycle, where `Timing.cas` says why.
        usable = [cycles for cycles, most_mhz in self.cas if chip_mhz <= most_mhz and (rate == 1 or cycles % rate == 1)]
        if clock_mhz <= 0 or not usable:
            raise PartError(f"{self.name} runs with up to {max(mhz for _, mhz in self.cas):g} MHz, not {chip_mhz:g}")

        def least(nanoseconds, mhz=clock_mhz):
            """Cycles that last at least so long. A millionth of a cycle is a rounding error of floats."""
            return max(1, ceil(nanoseconds * mhz / 1000 - 1e-6))

        return Timing(
            part=self.wide(rate), rate=rate, clock_mhz=clock_mhz, chip_cas=min(usable), rcd=least(self.rcd_ns),
            rp=least(self.rp_ns), ras=least(self.ras_ns), ras_most=floor(self.ras_most_ns * clock_mhz / 1000),
            rc=least(self.rc_ns), rfc=least(self.rfc_ns), wr=ceil((least(self.wr_ns, chip_mhz) + rate - 1) / rate),
            rrd=least(self.rrd_ns), mrd=ceil(self.mrd_cycles / rate), power_up=least(self.power_up_ns),
            retention=floor(self.retention_ns * clock_mhz / 1000))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A part at a clock: the times of `Part` in whole cycles, `ras_most` and `retention` rounded down, others up.

    `rate`: cycles of the chip in one of the tile's; `clock_mhz` and all times but `chip_cas` are the tile's. At 2, `part` has
    a bus of twice the width, commands are in the first half of a cycle, and its second half repeats none; the last word of a
    WRITE is in a second half, so `wr` counts from there. `chip_cas`: the CAS latency, for the mode register.
    `sweep`: 0 if moves refresh the part. Else they do not, and programs promise that from the end of one refresh of all rows to
    the next no more than so many cycles pass in runs; see `marey.sw.program.retention`. `entry_words`: words of the bus in an
    entry of the tile's W-RAM; a pause for REFRESH lasts for whole ones.
    """

    part: Part
    clock_mhz: float
    chip_cas: int
    rcd: int
    rp: int
    ras: int
    ras_most: int
    rc: int
    rfc: int
    wr: int
    rrd: int
    mrd: int
    power_up: int
    retention: int
    sweep: int = 0
    entry_words: int = 1
    rate: int = 1

    TURN_ROUND = 1
    """Cycles in which nobody drives the data bus between the last word read and the first word written."""

    @property
    def cas(self) -> int:
        """Cycles from READ to the first word, rounded up. At a rate of 2 the chip's latency is odd: the halves of a word are in
        the second half of a cycle and in the first of the next, which an I/O cell of two edges takes as one."""
        return -(-self.chip_cas // self.rate)

    @property
    def command_words(self) -> int:
        """Words of `part` that one READ or WRITE moves, a cycle each."""
        return BURST // self.rate

    @property
    def chip(self) -> "Timing":
        """The chip by itself, in cycles of its own clock."""
        whole = replace(self.part, bus_bits=self.part.bus_bits // self.rate, columns=self.part.columns * self.rate)
        return replace(whole.at(self.clock_mhz * self.rate), chip_cas=self.chip_cas, sweep=self.sweep * self.rate)

    @property
    def interval(self) -> int:
        """Most cycles from one REFRESH to the next, so that every row is refreshed in time."""
        return self.retention // self.part.refreshes


_CHIPS = (
    Part(name="IS42S16160G-7", bus_bits=16, banks=4, rows=8192, columns=512, refreshes=8192, retention_ns=64_000_000,
         rcd_ns=20, rp_ns=20, ras_ns=44, ras_most_ns=100_000, rc_ns=66, rfc_ns=70, wr_ns=20, rrd_ns=15,
         cas=((2, 100), (3, 143)),
         source="ULX3S. tRCD, tRP, tWR, tRFC as LiteDRAM has them for IS42S16160, which is slower than ISSI's data sheet "
                "for -7; tRAS, tRC, tRRD of JEDEC's PC133, which is slower than it, too; CAS latency 2 up to 100 MHz"),
    Part(name="AS4C16M16SA-7", bus_bits=16, banks=4, rows=8192, columns=512, refreshes=8192, retention_ns=64_000_000,
         rcd_ns=21, rp_ns=21, ras_ns=42, ras_most_ns=120_000, rc_ns=63, rfc_ns=63, wr_ns=14, rrd_ns=14,
         cas=((2, 100), (3, 143)),
         source="ULX3S with Alliance's chip. AS4C16M16SA data sheet, revision 3.0 of March 2015, table 16, column -7"),
    Part(name="M12L64322A-6", bus_bits=32, banks=4, rows=2048, columns=256, refreshes=4096, retention_ns=64_000_000,
         rcd_ns=18, rp_ns=18, ras_ns=42, ras_most_ns=100_000, rc_ns=60, rfc_ns=60, wr_ns=15, rrd_ns=12,
         cas=((2, 100), (3, 166)),
         source="Colorlight i9. ESMT's data sheet of March 2007: sizes, 166 MHz, a refresh every 15.6 us. LiteDRAM has "
                "tRCD = tRP = tWR = 15, tRFC = 55, tRAS = 40, tRRD = 10 ns for it: taken are the larger ones that are "
                "usual for the grade"),
    Part(name="small", bus_bits=16, banks=4, rows=16, columns=32, refreshes=16, retention_ns=16 * 7_812,
         rcd_ns=20, rp_ns=20, ras_ns=44, ras_most_ns=100_000, rc_ns=66, rfc_ns=70, wr_ns=20, rrd_ns=15, power_up_ns=500,
         cas=((2, 100), (3, 143)),
         source="no chip: the first one with fewer rows and columns, for simulation; a REFRESH is due as often"),
)
PARTS = {part.name: part for part in _CHIPS}
"""By name: the chips of the boards. A figure that data sheets of a family disagree on is the slower one. Their numbers in
`Config.sdram` are their places here, from 1 on: new ones come last."""


def part(name: str) -> Part:
    """The named part; PartError with the names there are for any other."""
    if name not in PARTS:
        raise PartError(f"no external memory {name!r}: there are {', '.join(PARTS)}")
    return PARTS[name]
