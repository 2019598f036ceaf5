"""The slices of a tile as netlists in which a number selects one of many mutations."""

import json
import random
import re
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetInserter, ResetSignal, Value
from amaranth.lib import wiring

from marey.boards.tools import run
from marey.hdl import tile, verilog
from marey.hdl.dram import Dram
from marey.hdl.link import Link
from marey.hdl.mem import Mem
from marey.hdl.mxm import Mxm
from marey.hdl.scalars import Scalars
from marey.hdl.sequencer import Sequencer
from marey.hdl.spec.config import Config
from marey.hdl.spec.ports import TOP
from marey.hdl.vxm import Vxm

SLICES: dict[str, Callable[[Config], wiring.Component]] = {
    "sequencer": Sequencer, "mem": Mem, "mxm": Mxm, "vxm": Vxm, "scalars": Scalars, "link": Link, "dram": Dram}

VARIABLE = "MAREY_MUTANT"
"""The environment variable with the number of the mutation of a simulation that starts; 0 or none: the original."""
PORT, PORT_BITS = "mutant", 12
CANDIDATES = 3000
"""Mutations that Yosys lists, evenly over the netlist, for a sample."""


@dataclass(frozen=True)
class Mutation:
    """One mutation of a slice: a bit of a cell's port is inverted, held, or depends on another bit.

    `number` selects it; `part` is the component it is in; `command`, the options of Yosys's `mutate`; `where`,
    the lines of the source that the cell comes from.
    """

    number: int
    part: str
    command: str
    where: str

    def text(self) -> str:
        """The mutation for people."""
        found = dict(re.findall(r"-(\w+) (\S+)", self.command))
        wire = f", {found['wire']}[{found['wirebit']}]" if "wire" in found else ""
        return f"{found['mode']} {found['cell']}.{found['port']}[{found['portbit']}]{wire}"


class Mutated:
    """A slice of a configuration with a sample of mutations. Files go to `folder`, which keeps what was made.

    Parameters: `name` of the slice; `config`; `folder`; `count` of mutations; `seed` of the sample.
    """

    def __init__(self, name: str, config: Config, folder: Path, count: int, seed: int):
        self.name, self.config, self.folder = name, config, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.module, component = f"marey_{name}", SLICES[name](config)
        self._class, self._signature = type(component).__name__, component.signature
        (folder / "ram.v").write_text(verilog.RAM.read_text())
        (folder / "slice.il").write_text(rtlil.convert(component, name=self.module, platform=verilog.Rams()))
        yosys(folder, f"read_rtlil slice.il; read_verilog -lib ram.v; hierarchy -top {self.module}; proc; flatten; "
                      "opt_expr; opt_merge; opt_clean -purge; write_rtlil flat.il; select -set all t:* t:$check %d "
                      f"t:$print %d t:$meminit* %d; mutate -list {CANDIDATES} -seed {seed} -o list.txt @all")
        listed = (folder / "list.txt").read_text().splitlines()
        self.mutations = _sample(name, listed, count, random.Random(f"{seed} {name} {config.name}"))
        script = ["read_rtlil flat.il"]
        script += [f"mutate -ctrl {PORT} {PORT_BITS} {mutation.number} {mutation.command}" for mutation in self.mutations]
        (folder / "mutate.ys").write_text("\n".join([*script, "opt_clean", "write_verilog -noattr mutated.v"]))
        run(folder, "yosys", "-q", "-s", "mutate.ys")
        self.text = _selected((folder / "mutated.v").read_text())
        facts = [asdict(mutation) for mutation in self.mutations]
        (folder / "mutations.json").write_text(json.dumps(facts, indent=1))

    def alone(self) -> str:
        """Verilog of the slice as the top module."""
        return self.text.replace(f"module {self.module}(", f"module {TOP}(") + verilog.RAM.read_text()

    def on_tile(self, convert: Callable[[Config], str]) -> str:
        """Verilog of a tile that has the slice: `convert` writes the tile."""
        with self._stands_in():
            return convert(self.config) + self.text

    @contextmanager
    def _stands_in(self):
        """In this context a `Tile` has, in the slice's place, an instance of its module."""
        def made(config):
            return _Instance(self._signature, self.module)

        def stopped(signal):
            real = ResetInserter(signal)
            return lambda part: part.stopped_by(signal) if isinstance(part, _Instance) else real(part)

        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(tile, self._class, made))
            stack.enter_context(mock.patch.object(tile, "ResetInserter", stopped))
            yield


class _Instance(wiring.Component):
    """A component whose contents are the Verilog module `module`."""

    def __init__(self, signature, module):
        super().__init__(signature)
        self._module, self._stop = module, 0

    def stopped_by(self, signal):
        """The component with a reset more."""
        self._stop = signal
        return self

    def elaborate(self, platform):
        m = Module()
        ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal() | self._stop}
        for path, member, value in self.signature.flatten(self):
            ports[f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}"] = Value.cast(value)
        m.submodules.slice = Instance(self._module, **ports)
        return m


def yosys(folder: Path, script: str) -> None:
    """Runs a script of Yosys in a folder. ToolError if it fails."""
    run(folder, "yosys", "-q", "-p", script)


def part_of(name: str, cell: str) -> str:
    """The component that a cell of a flat netlist is in: its path without numbers, after the slice's name."""
    path = cell.removeprefix("$flatten").split(".")[:-1]
    path = [re.sub(r"\d+(_\d+)*$", "", step.removeprefix("\\")) for step in path]
    return ".".join([name, *(step for step in path if step and not step.startswith("$"))])


def _sample(name, listed, count, rng):
    """So many of the listed mutations, in turns from each component."""
    parts = {}
    for command in dict.fromkeys(line.removeprefix("mutate ") for line in listed):
        parts.setdefault(part_of(name, re.search(r"-cell (\S+)", command)[1]), []).append(command)
    for commands in parts.values():
        rng.shuffle(commands)
    found = []
    while len(found) < count and any(parts.values()):
        found += [(part, commands.pop()) for part, commands in sorted(parts.items()) if commands]
    return [Mutation(number, part, command, _where(command))
            for number, (part, command) in enumerate(found[:count], 1)]


def _where(command):
    """Files and lines of the project that a mutation comes from."""
    found = re.findall(r"-src \S*?(hdl/\S+)", command)
    return ", ".join(dict.fromkeys(place for place in found if "site-packages" not in place))


def _selected(text):
    """The module with a register in the place of its port `mutant`, which starts with what the environment says."""
    text, ports = re.subn(rf"(module [^;]*?)(?:, {PORT}\b|\b{PORT}, )([^;]*;)", r"\1\2", text, count=1)
    declared = f"  input [{PORT_BITS - 1}:0] {PORT};\n  wire [{PORT_BITS - 1}:0] {PORT};\n"
    if ports != 1 or text.count(declared) != 1:
        raise ValueError("the netlist has no mutation")
    number = f'(std::getenv("{VARIABLE}") ? std::atoi(std::getenv("{VARIABLE}")) : 0)'
    start = f"  reg [{PORT_BITS - 1}:0] {PORT};\n  initial {PORT} = $c32({json.dumps(number)});\n"
    # Verilator would test "parallel_case" while values settle.
    text = text.replace(" // synopsys parallel_case", "")
    return "/* verilator lint_off CASEOVERLAP */\n" + text.replace(declared, start)
