"""A component as one flat netlist: what it remembers, and what each bit depends on."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from .names import named
from .tools import yosys


@dataclass
class Cut:
    """The platform for proofs: takes away the memories that are deeper than `deepest`.

    What a read port of such a memory holds is a free input of the netlist, `memory0`, `memory1` and
    so on: whatever the memory could contain, in any cycle. `ports` has the addresses and enables of all
    ports: `memory0_enable` of such a memory, and `kept0_read0_enable` or `kept0_write0_enable` of one that
    stays.
    """

    deepest: int
    free: dict[str, Signal] = field(default_factory=dict)
    ports: dict[str, Signal] = field(default_factory=dict)
    kept: int = 0

    def get_memory(self, memory: Memory):
        """A memory's implementation."""
        if memory.depth <= self.deepest:
            for kind, ports in (("read", memory.read_ports), ("write", memory.write_ports)):
                for number, port in enumerate(ports):
                    self._add(f"kept{self.kept}_{kind}{number}", port)
            self.kept += 1
            return memory.elaborate(None)
        m = Module()
        for port in memory.read_ports:
            name = f"memory{len(self.free)}"
            self.free[name] = contents = Signal(len(Value.cast(port.data)), name=name)
            self._add(name, port)
            if port.domain == "comb":
                m.d.comb += Value.cast(port.data).eq(contents)
            else:
                with m.If(port.en):
                    m.d.sync += Value.cast(port.data).eq(contents)
        return m

    def _add(self, name, port):
        ports = {f"{name}_enable": port.en, f"{name}_address": port.addr}
        self.ports |= {name: value for name, value in ports.items() if isinstance(value, Signal)}


class Netlist:
    """A component, flattened by Yosys, as a dictionary of cells and nets.

    Parameters: `component`; `deepest`, of the memories that stay: see `Cut`; `folder`, for files;
    `names` is True if signals without a name get one, for proofs that speak of them.
    """

    def __init__(self, component: wiring.Component, folder: Path, deepest: int):
        self.folder, cut = folder, Cut(deepest)
        with named():
            fragment = Fragment.get(component, cut)
        ports = {}
        for path, member, value in component.signature.flatten(component):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (Value.cast(value), direction)
        ports |= {name: (value, PortDirection.Input) for name, value in cut.free.items()}
        ports |= {name: (value, PortDirection.Output) for name, value in cut.ports.items()}
        (folder / "copy.il").write_text(rtlil.convert(fragment, name="copy", ports=ports, emit_src=False))
        yosys(folder, "read_rtlil copy.il; hierarchy -top copy; proc; flatten; memory_collect; memory_nordff; memory_map; "
                      "chformal -remove; opt_clean; write_json copy.json")
        self.design = json.loads((folder / "copy.json").read_text())
        self.module = self.design["modules"]["copy"]
        self.nets = {name: net["bits"] for name, net in self.module["netnames"].items()}

    @property
    def state(self) -> list[str]:
        """A name for each register."""
        by_bits = {}
        for name, bits in self.nets.items():
            by_bits.setdefault(tuple(bits), []).append(name)
        return [min(by_bits[tuple(cell["connections"]["Q"])], key=lambda name: ("$" in name, len(name), name))
                for cell in self.module["cells"].values() if is_register(cell)]

    def width(self, name: str) -> int:
        """Width of a net, in bits."""
        return len(self.nets[name])

    def cut(self, name: str) -> None:
        """Takes a register away: what it holds is an input of that name, anything in any cycle."""
        bits, cells = self.nets[name], self.module["cells"]
        (register,) = (cell for cell, facts in cells.items() if is_register(facts) and facts["connections"]["Q"] == bits)
        del cells[register]
        self.module["ports"][name] = {"direction": "input", "bits": bits}

    def export(self, names: list[str]) -> Path:
        """Writes the netlist as a file for Yosys in which the nets `names` are outputs, too."""
        for name in names:
            self.module["ports"].setdefault(name, {"direction": "output", "bits": self.nets[name]})
        path = self.folder / "ports.json"
        path.write_text(json.dumps(self.design))
        return path


def is_register(cell: dict) -> bool:
    """Whether a cell of the netlist is a register."""
    return cell["type"].startswith(("$dff", "$sdff", "$adff", "$aldff", "$ff"))
