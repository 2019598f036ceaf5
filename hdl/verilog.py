"""The tile as Verilog, and a sidecar that says in JSON what the Verilog cannot."""

import hashlib
import re
from dataclasses import asdict
from pathlib import Path

from amaranth import ClockSignal, Instance, Module, Shape
from amaranth.back import verilog
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component

from .mem import Mem
from .mxm import Mxm
from .parts.host import HOST_READ_LATENCY
from .scalars import Scalars
from .sequencer import Sequencer
from .spec.config import Config
from .spec.errors import MareyError
from .spec.isa import Isa, Op, Sfu
from .spec.ports import TOP
from .spec.protocol import VERSION, Space, entry_bits, entry_count, parts, space_words
from .tile import Tile
from .timing import mxm_beat, next_issue, sfu_beat, vxm_beat
from .vxm import Vxm

RAM = Path(__file__).parent / "parts" / "ram.v"
"""The module `marey_ram`, which the text ends with."""

_MODULE = re.compile(rf"^module {TOP}\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.MULTILINE)


class VerilogError(MareyError):
    """Yosys, which writes the Verilog, failed."""

    exit_code = 1

    def __init__(self, printed: str):
        """`printed`: what Yosys, or the Python program around it, printed."""
        reason = next((line for line in printed.splitlines() if "Error: " in line), printed.strip()[:200])
        cure = (": name a folder that can be written in the environment variable XDG_CACHE_HOME"
                if "cache directory" in reason else "")
        super().__init__(f"Yosys failed to write the Verilog ({reason}){cure}")


class Rams:
    """The platform that puts a `marey_ram` in the place of a memory that starts empty.

    Amaranth writes a line for each row of a memory, and takes minutes for a large W-RAM.
    """

    def get_memory(self, memory: Memory):
        reads, writes = memory.read_ports, memory.write_ports
        # `marey_ram` has an address, which a memory of one row has not.
        plain = isinstance(memory.shape, Shape) and not any(memory.init) and memory.depth > 1
        if not plain or len(reads) != 1 or len(writes) != 1 or reads[0].domain != "sync" or reads[0].transparent_for:
            return memory.elaborate(None)
        (read,), (write,) = reads, writes
        width = memory.shape.width
        m = Module()
        m.submodules.ram = Instance(
            "marey_ram", p_WIDTH=width, p_GRAIN=width // len(write.en), p_DEPTH=memory.depth, p_ADDRESS=len(read.addr),
            i_clk=ClockSignal(), i_read_address=read.addr, i_read_enable=read.en, o_read_data=read.data,
            i_write_address=write.addr, i_write_data=write.data, i_write_enable=write.en)
        return m


def convert(component: Component, parts: Rams | None = None) -> str:
    """The component as Verilog text, top module `TOP`; `parts`: a platform of a device's parts.

    The same component always gives the same text: it has no paths, source locations or times. VerilogError if Yosys fails.
    """
    try:
        text = verilog.convert(component, name=TOP, platform=parts or Rams(), emit_src=False, strip_internal_attrs=True)
    except verilog.YosysError as error:
        raise VerilogError(str(error)) from None
    return text + RAM.read_text()


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
            "first_issue": Sequencer.first_issue(config),
            "slow": next_issue(config, Op.LOOP),
            "halt": Sequencer.HALT_CYCLES,
            "issue_to_mxm_beat": mxm_beat(config),
            "issue_to_vxm_beat": vxm_beat(config),
            "issue_to_sfu_beat": sfu_beat(config),
            "mem": Mem.LATENCY,
            "mxm": Mxm.latency(config),
            "mxm_fetch": Mxm.fetch_latency(config),
            "vxm": Vxm.latency(config),
            "reduce": Vxm.reduce_latency(config),
            "sfu": Scalars.LATENCY,
            "sfu_multiply": Scalars.latency(config, Sfu.MULTIPLY),
            "host_read": HOST_READ_LATENCY,
        },
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return text, sidecar


def ports(text: str) -> list[dict]:
    """Ports of the top module in text that `convert` wrote, by name: [{name, direction, width}]."""
    found = _PORT.findall(_MODULE.search(text).group())
    return [
        {"name": name, "direction": direction, "width": int(high or 0) + 1}
        for direction, high, name in sorted(found, key=lambda port: port[2])
    ]
