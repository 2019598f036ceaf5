"""Rewrites the Verilog of a design such that Verilator makes a faster simulator of it, with the same values in each cycle.

The texts are those that `marey.hdl.verilog.convert` gives. What is not found in a text stays as it is.
"""

import re
from pathlib import Path

from .. import hdl

_RAM = Path(hdl.__file__).parent / "parts" / "ram.v"
_FASTER_RAM = Path(__file__).with_name("ram.v")
_BIT = r"(?:\\\S+ |\w+)\[\d+\]|\\\S+ \s*\[\d+\]"
_REPEATED = re.compile(rf"({_BIT})((?:, \1)+)(?=[, ])")
"""A bit that stands several times in a row in a concatenation, as Yosys writes the extension of a sign."""


def rewritten(text: str, top: str, one_edge: bool) -> str:
    """The text with a reset that is never asked for, with replications, and with a quicker memory.

    `top`: name of the top module, whose port `rst` goes. Unless `one_edge`, each change of the clock, up or down, is an edge,
    so that a clock cycle takes one evaluation of the model and not two.
    """
    text = text.replace(_RAM.read_text(), _FASTER_RAM.read_text())
    lines = _without_reset(text, top).splitlines(keepends=True)
    # The arguments of a message are separated by commas, too.
    text = "".join(line if "$write(" in line else _REPEATED.sub(_replication, line) for line in lines)
    return text if one_edge else text.replace("@(posedge clk)", "@(edge clk)")


def sources() -> list[str]:
    """The texts on which a rewriting depends."""
    return [Path(__file__).read_text(), _FASTER_RAM.read_text()]


def _without_reset(text, top):
    """The text in which the top module's `rst` is 0, from which Verilator sees that no register is ever reset."""
    begin = re.search(rf"^module {re.escape(top)}\(", text, re.MULTILINE)
    if begin is None:
        return text
    end = text.find("\nendmodule", begin.start())
    module = text[begin.start():end]
    if "\n  input rst;\n  wire rst;\n" not in module:
        return text
    ports, _, rest = module.partition(";")
    names = [name for name in re.split(r",\s*", ports[ports.index("(") + 1:ports.rindex(")")]) if name != "rst"]
    rest = rest.replace("\n  input rst;\n  wire rst;\n", "\n  wire rst = 1'h0;\n")
    return f"{text[:begin.start()]}module {top}({', '.join(names)});{rest}{text[end:]}"


def _replication(match):
    bit, others = match.groups()
    return f"{{ {1 + others.count(f', {bit}')}{{ {bit} }} }}"
