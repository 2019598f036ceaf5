"""Two copies of a component side by side, for proofs that one does what the other does."""

import re
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockSignal, Instance, Module, ResetSignal, Signal, Value

from .netlist import Netlist
from .tools import Failed, solve, yosys

PREFIX = "holds."
CHECK = re.compile(r"cell \$check \S+(.*?connect \\A \\?(\S+))", re.DOTALL)
"""An assertion or assumption in Amaranth's RTLIL, with the signal that it has."""


class Copies:
    """A harness with copies of a netlist; what stands in it is proved for all their inputs.

    Parameters: `netlist`; `shared`, the inputs that all copies have in common; `outputs`, nets of the
    netlist that the proof speaks of; `count` of copies.

    `copies[n][name]` is a signal of copy n, and `inputs[name]` a shared input. `m` is the module to
    add to; `check` and `assume` add assertions and assumptions, in every cycle.
    """

    def __init__(self, netlist: Netlist, shared: set[str], outputs: list[str], count: int = 2):
        self.netlist, self.m = netlist, Module()
        self._free = []
        ports = netlist.module["ports"]
        given = {name: len(port["bits"]) for name, port in ports.items() if port["direction"] == "input"}
        clocks = {name: signal for name, signal in (("clk", ClockSignal()), ("rst", ResetSignal())) if given.pop(name, None)}
        given_out = [name for name, port in ports.items() if port["direction"] == "output"]
        outputs = list(dict.fromkeys([*given_out, *outputs]))
        netlist.export(outputs)
        self.inputs = {name: self._input(width, name) for name, width in given.items() if name in shared}
        self.copies = []
        for number in range(count):
            signals = {name: self.inputs.get(name) if name in shared else self._input(width, f"{name}_{number}")
                       for name, width in given.items()}
            made = {name: Signal(netlist.width(name), name=f"{number}:{name}") for name in outputs}
            self.m.submodules[f"copy{number}"] = Instance(
                "copy", **{f"i_{name}": value for name, value in (clocks | signals).items()},
                **{f"o_{name}": value for name, value in made.items()})
            self.copies.append(signals | made)

    def _input(self, width, name):
        self._free.append(Signal(width, name=name))
        return self._free[-1]

    def check(self, name: str, holds: Value) -> None:
        """Asserts a condition in every cycle; `name` is told if it fails."""
        signal = Signal(name=PREFIX + name.replace(" ", "_"))
        self.m.d.comb += [signal.eq(holds), Assert(signal)]

    def assume(self, holds: Value) -> None:
        """Restricts the proof to runs in which the condition holds in every cycle."""
        self.m.d.comb += Assume(holds)

    def equal(self, name: str, when: Value = 1) -> None:
        """Asserts that a signal is the same in both copies, in cycles in which `when` is 1."""
        one, other = (copy[name] for copy in self.copies)
        self.check(f"{name} is equal", ~Value.cast(when).any() | (one == other))

    def prove(self, depth: int) -> Failed | None:
        """Proves all assertions, see `solve`."""
        folder: Path = self.netlist.folder
        text = rtlil.convert(self.m, name="proof", ports=self._free, emit_src=False)
        (folder / "proof.il").write_text(_with_names(text))
        yosys(folder, "read_json ports.json; read_rtlil proof.il; hierarchy -top proof; proc; flatten; opt_expr; opt_clean; "
                      "async2sync; chformal -lower; dffunmap; opt_clean; write_smt2 -wires proof.smt2")
        return solve(folder, depth)


def _with_names(text):
    """RTLIL in which an assertion is named as the signal that it has."""
    def with_name(found):
        return rf"cell $check \check.{found[2]}{found[1]}" if found[2].startswith(PREFIX) else found[0]

    return CHECK.sub(with_name, text)
