"""The cycles of a move between the tile and an SDRAM, as closed functions of the part's times.

A move of n bursts looks like this, in cycles from `start`; s = `group` and e = `pause`::

    0               takeover: a REFRESH is under way or issued now
    t               ACTIVATE of the first row; t is rfc, or some cycles more
    t + rcd         first READ or WRITE; then one every 8 cycles, for s bursts
      ...           PRECHARGE of all banks, REFRESH, ACTIVATE: e cycles, once after s bursts
    t + rcd + 8k + e (k // s)       READ or WRITE of burst k

t is so long that e is a multiple of `Timing.entry_words`: an entry of W-RAM then comes in the same cycles, modulo its
words, before a pause and behind it. A prompt's blocks of positions rely on that.

The row of the next burst is opened under the burst before it, in another bank, so nothing but
REFRESH ever interrupts the stream, and the cycles do not depend on the address.
"""

from dataclasses import dataclass
from functools import cached_property

from ..spec.dram_parts import BURST, PartError, Timing

MORE_THAN_ANY = 1 << 16
"""More bursts than a MOVE can count."""


@dataclass(frozen=True)
class Plan:
    """The distances between the commands of a move, in cycles.

    Parameters: `timing`, the part at its clock. PartError if the engine cannot keep its times.
    """

    timing: Timing

    def __post_init__(self):
        turn = self.close - BURST
        if self.timing.sweep and self.period < self.timing.rfc + self.timing.rp + BURST:
            kept, run = (cycles / self.timing.clock_mhz for cycles in (self.timing.retention, self.timing.sweep))
            raise PartError(f"{self.timing.part.name} keeps its contents for {kept:.0f} us, which leaves no time for a refresh "
                            f"beside a run of {run:.0f} us: set a smaller sdram_sweep_us")
        # The phases of a slot in which READ or WRITE, PRECHARGE and ACTIVATE have their places.
        phases = [*range(0, BURST, self.timing.command_words), turn, BURST - self.row]
        if len(set(phases)) < len(phases) or min(phases) < 0 or turn >= BURST or self.group < 1:
            raise PartError(f"{self.timing.part.name} at {self.timing.clock_mhz:g} MHz has times that the memory engine "
                            "cannot keep: choose a slower clock")

    @cached_property
    def row(self) -> int:
        """ACTIVATE to the first READ or WRITE. The way of the words to be written needs two cycles."""
        return max(self.timing.rcd, 2)

    @cached_property
    def close(self) -> int:
        """The last READ or WRITE of a row to its PRECHARGE."""
        t = self.timing
        return max(BURST + 1, BURST - 1 + t.wr, t.ras - self.row, t.rc - t.rp - self.row)

    @cached_property
    def takeover(self) -> int:
        """Start, or a REFRESH in a pause, to ACTIVATE: the part's time, and what makes a pause whole entries."""
        t = self.timing
        return t.rfc + -(self.close + t.rp + t.rfc + self.row - BURST) % t.entry_words

    @cached_property
    def pause(self) -> int:
        """Cycles that a REFRESH within a move takes from the stream."""
        return self.close + self.timing.rp + self.takeover + self.row - BURST

    @cached_property
    def group(self) -> int:
        """Bursts between two REFRESHes of a move, so many that no two are further apart than the part's interval. Where
        reading is the refresh, more than any move has."""
        if self.timing.sweep:
            return MORE_THAN_ANY
        return (self.timing.interval - (self.timing.rfc - 1) - self.pause) // BURST

    @cached_property
    def period(self) -> int:
        """Cycles from one REFRESH to the next, within a move and between moves. Where reading is the refresh, only between
        moves: so few that all rows have been refreshed in the time that a run leaves of the retention."""
        if self.timing.sweep:
            return (self.timing.retention - self.timing.sweep) // self.timing.part.refreshes
        return BURST * self.group + self.pause

    def burst(self, number: int) -> int:
        """Start to the READ or WRITE of a burst; the first is number 0."""
        return self.takeover + self.row + BURST * number + self.pause * (number // self.group)

    def busy(self, bursts: int) -> int:
        """Start of a move of so many bursts to the first cycle in which another may start."""
        return self.burst(bursts - 1) + self.close + self.timing.rp
