"""The structural check: what the timetable of a tile can depend on, read off its netlist.

No solver is needed, and no size is too large: a bit that has no path to another cannot change it. In the
flat netlist of a whole tile, with what its large memories hold as free inputs:

* The sequencer reads registers of the link, the program memory and the chosen token, and nothing else: no
  path leads from another memory, a multiplier or a scalar to any of its registers. The chosen token is read
  by the token's register alone.
* Whether a unit is at work in a cycle (`probe`) depends on registers of the sequencer and of the slices,
  over any number of cycles, and on the link only where it stops a run: no path leads to it from a memory of
  data, a multiplier or a scalar. On a full tile none leads to it from the token or the position, either; on
  a compact one they come by the address registers that are added to counts, which the rule `data` of the
  verifier forbids for the token.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import isa_of
from marey.hdl.tile import Tile

from .netlist import Netlist, is_register


@dataclass(frozen=True)
class Register:
    """A register of the netlist: the slice that it is in, and a name of its output."""

    slice: str
    name: str

    def __str__(self):
        return f"{self.slice}: {self.name}"


class Paths:
    """Which bits each bit of a netlist depends on.

    Parameters: `netlist`.
    """

    def __init__(self, netlist: Netlist):
        self._cells = netlist.module["cells"]
        self._driver = {}
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "output":
                    self._driver |= {bit: (name, place) for place, bit in enumerate(bits)}
        self._inputs = {bit: name for name, port in netlist.module["ports"].items() if port["direction"] == "input"
                        for bit in port["bits"]}
        names = {}
        for name, bits in sorted(netlist.nets.items(), key=lambda item: ("$" in item[0], len(item[0]), item[0])):
            for bit in bits:
                names.setdefault(bit, name)
        self.registers = {name: Register(_slice(name), names.get(cell["connections"]["Q"][0], name))
                          for name, cell in self._cells.items() if is_register(cell)}

    def before(self, bits: Iterable) -> "Before":
        """What some bits depend on within a cycle."""
        found, seen, todo = Before(), set(), list(bits)
        while todo:
            bit = todo.pop()
            if bit in seen or not isinstance(bit, int):
                continue
            seen.add(bit)
            if bit in self._inputs:
                found.inputs.add(self._inputs[bit])
            elif bit in self._driver:
                name, place = self._driver[bit]
                if name in self.registers:
                    found.registers.add((name, place))
                else:
                    found.types.add(self._cells[name]["type"])
                    todo += _needed(self._cells[name], place)
        return found

    def read_by(self, name: str, places: Iterable[int] | None = None) -> "Before":
        """What bits of a register depend on; all of them by default."""
        cell = self._cells[name]
        return self.before(bit for place in places or range(len(cell["connections"]["Q"])) for bit in _needed(cell, place))


@dataclass
class Before:
    """What bits depend on within a cycle: bits of registers, as the name of the cell and the number of the bit;
    inputs of the netlist; and the types of the cells between."""

    registers: set[tuple[str, int]] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)


BITWISE = ("$and", "$or", "$xor", "$xnor", "$not", "$pos")


def _needed(cell, place):
    """The inputs of a cell that bit `place` of its output depends on."""
    ports, kind = cell["connections"], cell["type"]
    inputs = {port: bits for port, bits in ports.items() if cell["port_directions"][port] == "input" and port != "CLK"}
    if is_register(cell):
        inputs["D"] = [ports["D"][place]]
    elif kind == "$mux":
        inputs |= {port: [ports[port][place]] for port in "AB"}
    elif kind == "$pmux":
        inputs |= {"A": [ports["A"][place]], "B": ports["B"][place::len(ports["A"])]}
    elif kind in BITWISE:
        # A narrower operand is extended by its highest bit, or by nothing.
        inputs = {port: bits[place:place + 1] or bits[-1:] for port, bits in inputs.items()}
    return [bit for bits in inputs.values() for bit in bits]


def _slice(name):
    """The slice that a flattened cell was in; "" for the tile itself."""
    place = name.split("\\")
    return place[1].strip(".").split("$")[0].split(".")[0] if len(place) > 1 else ""


def faults(config: Config, folder: Path) -> list[str]:
    """What a tile's timetable depends on, and must not; empty for a sound one."""
    netlist = Netlist(Tile(config), folder, deepest=isa_of(config).registers)
    paths = Paths(netlist)
    return _of_sequencer(paths) + _of_units(paths, netlist.module["ports"]["probe"]["bits"], config)


def _of_sequencer(paths):
    """What the sequencer's registers read, and must not."""
    found = []
    for cell, register in paths.registers.items():
        if register.slice != "sequencer":
            continue
        before = paths.read_by(cell)
        foreign = {paths.registers[name] for name, _ in before.registers}
        foreign = {other for other in foreign if other.slice not in ("sequencer", "link")}
        if register.name == "token":
            foreign -= {Register("vxm", "chosen")}
        found += [f"{register} depends on {other}" for other in sorted(foreign, key=str)]
        reads_program = "\\program" in cell
        inputs = before.inputs - {"rst"} - (PROGRAM_PORT if reads_program else set())
        found += [f"{register} depends on the input {name}" for name in sorted(inputs)
                  if not (reads_program and name.startswith("memory"))]
        if "$mul" in before.types:
            found.append(f"{register} depends on a multiplier")
    return found


PROGRAM_PORT = {"tx__ready"}
"""What decides whether the link reads the program; see `link.py`."""


def _of_units(paths, probe, config):
    """What decides whether a unit is at work, and must not."""
    before = paths.before(probe)
    seen, todo, found = set(before.registers), list(before.registers), []
    while todo:
        cell, place = todo.pop()
        register = paths.registers[cell]
        if register.slice == "sequencer":
            if register.name in ("token", "position") and not config.compact:
                found.append(f"a unit's work depends on the {register.name}")
        elif register.slice == "link":
            if register.name not in STOPS:
                found.append(f"a unit's work depends on {register}")
        else:
            before = paths.read_by(cell, [place])
            found += [f"{register}, and so a unit's work, depends on the input {name}" for name in before.inputs - {"rst"}]
            if "$mul" in before.types:
                found.append(f"{register}, and so a unit's work, depends on a multiplier")
            todo += before.registers - seen
            seen |= before.registers
    return sorted(set(found))


STOPS = {"reset", "stop"}
"""Names of the register of the link that is its pulse of a RESET: the slice of external memory calls it `stop`."""
