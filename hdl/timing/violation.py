"""A broken rule of the timetable."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A broken rule: which rule, in which cycle, by which instruction (program counter)."""

    what: str
    cycle: int
    pc: int

    def __str__(self):
        return f"cycle {self.cycle}, instruction {self.pc}: {self.what}"
