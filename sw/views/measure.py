"""The measured timetable: what each unit of the RTL does in each cycle of a run, held against the plan."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vcd import VCDWriter

from ...hdl.spec.errors import MareyError
from ...hdl.tile import PROBE
from ...hdl.timing import PROBED, Unit
from ...sim import verilator
from ..program.program import Program
from ..runtime.driver import Device
from .entries import Entry, entries

BITS = {unit: bit for bit, (unit, _) in enumerate(PROBE)}
"""Of the tile's probe, by unit."""


class NotAsPlanned(MareyError):
    """A measured run that is not the planned one."""

    exit_code = 1


@dataclass(frozen=True)
class Difference:
    """A unit that is at work in a cycle in which it was not planned to be, or the other way round."""

    cycle: int
    unit: Unit
    planned: bool

    def __str__(self):
        return f"cycle {self.cycle}: {self.unit} {'planned, and idle' if self.planned else 'at work, and not planned'}"


@dataclass(frozen=True)
class Measurement:
    """A run of the RTL: its `cycles`, and by unit the cycles (int64, ascending) in which it was at work.

    `plan`: the entries of its timetable.
    """

    cycles: int
    units: dict[Unit, np.ndarray]
    plan: list[Entry]

    def differences(self) -> list[Difference]:
        """All of them, in the order of time; none, if everything was in the cycle in which it was planned."""
        found = []
        for unit, measured in self.units.items():
            planned = self.planned(unit)
            found += [Difference(int(cycle), unit, True) for cycle in np.setdiff1d(planned, measured)]
            found += [Difference(int(cycle), unit, False) for cycle in np.setdiff1d(measured, planned)]
        return sorted(found, key=lambda difference: difference.cycle)

    def planned(self, unit: str) -> np.ndarray:
        """The cycles in which a unit was to be at work."""
        return np.sort(np.concatenate([entry.cycles(unit) for entry in self.plan]))

    def write_vcd(self, path: Path, units: list[str]) -> None:
        """A waveform of some units: of each a bit, and the name of the operation that the plan has there; a cycle is 1 ns."""
        comment = "one nanosecond is one clock cycle"
        with path.open("w") as file, VCDWriter(file, timescale="1 ns", date="", comment=comment) as writer:
            changes = []
            for unit in units:
                bit = writer.register_var("tile", unit, "wire", 1, init=0)
                name = writer.register_var("tile", f"{unit}.operation", "string", init="")
                names = {cycle: entry.name for entry in self.plan for cycle in entry.cycles(unit).tolist()}
                before = None
                for cycle in self.units[unit].tolist():
                    if before != cycle - 1:
                        if before is not None:
                            changes += [(before + 1, bit, 0), (before + 1, name, "")]
                        changes.append((cycle, bit, 1))
                    changes.append((cycle, name, names.get(cycle, "not planned")))
                    before = cycle
                if before is not None:
                    changes += [(before + 1, bit, 0), (before + 1, name, "")]
            for cycle, variable, value in sorted(changes, key=lambda change: change[0]):
                writer.change(variable, cycle, value)
            writer.close(self.cycles + 1)


def measure(program: Program, position: int = 0, count: int = 1, image: Program | None = None) -> Measurement:
    """Runs a program's token, or `count` of them, in Verilator, and watches the tile's probe in every cycle.

    The plan is the program's; what runs is the `image`, if one is given. MareyError if the tokens take several runs,
    BackendError if Verilator cannot be had, LinkError if the run does not end.
    """
    if len(parts := program.parts(position, count)) > 1:
        raise MareyError(f"the tokens from position {parts[1][0]} on take a run of their own, and one run is measured: choose "
                         "fewer tokens, or another position")
    with Device(verilator.open_tile(program.config), program.config) as device:
        device.load(image or program)
        device.transport.watch(True)
        device.link.start(program.entry(position), token=0, position=position, count=count)
        cycles, _, _ = device.link.wait(lambda token: None)
        seen = device.transport.watched()
    # Changes of the probe, and how long each lasts; cycle 1 of a run is the first in which it is on.
    on = seen[:, 1] >> BITS["running"] & 1
    start = seen[on.argmax(), 0] - 1
    lasts = np.diff(seen[:, 0], append=seen[-1, 0] + 1)
    units = {}
    for unit in PROBED:
        at_work = np.flatnonzero(seen[:, 1] >> BITS[unit] & 1)
        spans = [np.arange(seen[index, 0], seen[index, 0] + lasts[index]) for index in at_work]
        units[unit] = np.concatenate([np.empty(0, np.int64), *spans]) - start
    return Measurement(cycles, units, list(entries(program, position, count)))
