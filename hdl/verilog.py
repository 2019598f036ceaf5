"""The tile as Verilog, and a sidecar that says in JSON what the Verilog cannot."""

import hashlib
import re
from dataclasses import asdict

from amaranth.back import verilog
from amaranth.lib.wiring import Component

from .config import Config
from .host import HOST_READ_LATENCY
from .isa import Isa
from .mem import Mem
from .mxm import Mxm
from .protocol import VERSION, Space, entry_bits, entry_count, parts, space_words
from .scalars import Scalars
from .sequencer import Sequencer
from .tile import Tile
from .timing import MXM_BEAT, SFU_BEAT, VXM_BEAT
from .vxm import Vxm

TOP = "marey_tile"
"""The top module's name."""

_FILLED = re.compile(r"^  initial begin\n    (\S+ ?)\[0\] = (\S+);\n((?:    \1\[\d+\] = \2;\n)+)  end\n", re.MULTILINE)
_MODULE = re.compile(rf"^module {TOP}\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.MULTILINE)


def convert(component: Component) -> str:
    """The component as Verilog text, top module `TOP`.

    The same component always gives the same text: it has no paths, source locations or times. Memories whose
    rows all start alike are filled by a loop; Amaranth writes a line a row, nine tenths of a tile's text.
    """
    text = verilog.convert(component, name=TOP, emit_src=False, strip_internal_attrs=True)
    return _FILLED.sub(_fill, text)


def generate(config: Config) -> tuple[str, dict]:
    """The tile's Verilog text and its sidecar, which `json.dumps` takes.

    The sidecar::

        module            name of the top module
        config            every field of `Config`
        config_hash       what the tile answers in `Register.CONFIG`
        protocol_version  of the link's frames
        ports             [{name, direction, width}], as in the text
        memory            {space: {number, entry_bits, entries, parts, words}}; `parts` link words an entry
        instruction_bits  width of an instruction
        latency           clock cycles, see `marey.hdl.timing`
        sha256            of the text, UTF-8
    """
    text = convert(Tile(config))
    sidecar = {
        "module": TOP,
        "config": asdict(config),
        "config_hash": config.hash,
        "protocol_version": VERSION,
        "ports": ports(text),
        "memory": {
            space.name: {
                "number": space.value,
                "entry_bits": entry_bits(config, space),
                "entries": entry_count(config, space),
                "parts": parts(entry_bits(config, space)),
                "words": space_words(config, space),
            }
            for space in Space
        },
        "instruction_bits": Isa(config).width,
        "latency": {
            "first_issue": Sequencer.FIRST_ISSUE,
            "slow": Sequencer.SLOW_CYCLES,
            "halt": Sequencer.HALT_CYCLES,
            "issue_to_mxm_beat": MXM_BEAT,
            "issue_to_vxm_beat": VXM_BEAT,
            "issue_to_sfu_beat": SFU_BEAT,
            "mem": Mem.LATENCY,
            "mxm": Mxm.latency(config),
            "mxm_fetch": Mxm.fetch_latency(config),
            "vxm": Vxm.LATENCY,
            "reduce": Vxm.REDUCE_LATENCY,
            "sfu": Scalars.LATENCY,
            "host_read": HOST_READ_LATENCY,
        },
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return text, sidecar


def ports(text: str) -> list[dict]:
    """Ports of the top module in Verilog text that `convert` wrote, by name: [{name, direction, width}]."""
    found = _PORT.findall(_MODULE.search(text).group())
    return [
        {"name": name, "direction": direction, "width": int(high or 0) + 1}
        for direction, high, name in sorted(found, key=lambda port: port[2])
    ]


def _fill(match):
    memory, value, others = match.groups()
    label = f"fill_{match.start()}"
    return (
        f"  initial begin : {label}\n    integer row;\n"
        f"    for (row = 0; row < {others.count(';') + 1}; row = row + 1) {memory}[row] = {value};\n  end\n"
    )
