"""Contents burned into block RAMs: as a host would load them, wherever synthesis has put each
bit."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.boards.memories import BITS, FEWEST_ROWS, ROWS, Burner, Ram, contents, hold_places, rams
from marey.hdl import verilog
from marey.hdl.spec.config import Config
from marey.hdl.spec.errors import MareyError
from marey.hdl.spec.packing import pack_wram
from marey.hdl.tile import Tile
from marey.sim.endpoint import Endpoint
from marey.sim.verilator import VerilatorTransport
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device

CONFIG = Config(name="burned", rows=4, cols=4, lanes=1, weight_bits=4, paired=1, wram_depth=512, mem_depth=256,
                program_depth=128)
MODEL = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=16, seq_len=24)
RAM = "module \\marey.{}\n  cell \\marey_ram \\ram\n    parameter \\WIDTH 12\n    parameter \\DEPTH {}\n  end\nend\n"
"""RTLIL of a memory, for its name and depth."""


def at(width, row, bit):
    """Where a port of that width has a bit: its row of 18 bits, and the place in it.

    Lattice's memory guide (FPGA-TN-02204).
    """
    if width >= BITS:
        return row * (width // BITS) + bit // BITS, bit % BITS
    half, place = divmod(row * width, 8) if width < 9 else (row, 0)
    return half // 2, half % 2 * 9 + place + bit


def laid(ram, width, order):
    """How a memory lies in block RAMs, its bits in that order: [{(row, bit) of a block RAM: (row,
    bit) of the memory}]."""
    depth = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}[width]
    return [{at(width, row - first, place): (row, bit) for place, bit in enumerate(order[start:start + width])
             for row in range(first, min(first + depth, ram.depth))}
            for first in range(0, ram.depth, depth) for start in range(0, ram.width, width)]


def filled(lie, content):
    rows = np.zeros((ROWS, BITS), bool)
    for place, source in lie.items():
        rows[place] = content[source]
    return rows


def number(bits):
    return sum(int(bit) << place for place, bit in enumerate(bits))


def as_config(all_rows):
    """nextpnr's configuration of block RAMs: eight halves of rows in a line."""
    text = ".device LFE5U-85F\n\n"
    for index, rows in enumerate(all_rows):
        halves = [f"{number(half):03x} " for half in rows.reshape(-1, 9)]
        text += f".bram_init {index}\n" + "".join("".join(halves[at:at + 8]) + "\n" for at in range(0, 2048, 8)) + "\n"
    return text


def as_netlist(all_rows):
    """Verilog of DP16KDs."""
    return "".join("  DP16KD #(\n" + ",\n".join(
        f"    .INITVAL_{block:02X}(320'h{sum(number(rows[16 * block + row]) << 20 * row for row in range(16)):080x})"
        for block in range(64)) + "\n  ) ram (\n    .ADA0(1'h0)\n  );\n" for rows in all_rows)


def same_text(one, other):
    """But for leading zeros."""
    return re.sub(r"320'h0*", "320'h", one) == re.sub(r"320'h0*", "320'h", other)


@settings(deadline=None, max_examples=8)
@given(st.sampled_from([36, 18, 9, 4, 2, 1]), st.integers(1, 40), st.integers(2, 48), st.integers(0, 2**32 - 1))
def test_contents_find_their_places(width, bits, depth, seed):
    """Whatever the width of the ports, and whichever bit of a row is where; what is no placeholder
    stays."""
    depth *= FEWEST_ROWS
    ram, rng = Ram("marey.memory", bits, depth), np.random.default_rng(seed)
    new, lie = rng.integers(0, 2, (depth, bits)).astype(bool), laid(ram, width, rng.permutation(bits).tolist())
    other = np.arange(ROWS * BITS).reshape(ROWS, BITS) % 7 == 0

    def all_rows(content):
        return [*(filled(part, content) for part in lie), other]

    for write, burn in ((as_config, Burner.config), (as_netlist, Burner.netlist)):
        before = write(all_rows(ram.placeholder()))
        assert same_text(burn(Burner([ram], {"memory": new}), before), write(all_rows(new)))
        assert same_text(burn(Burner([ram], {}), before), write(all_rows(np.zeros_like(new))))


def test_a_memory_that_is_not_there():
    with pytest.raises(MareyError, match=r"no place for mem\.x"):
        Burner([], {"mem.x": np.zeros((4, 4), bool)}).config("")


def test_a_memory_that_cannot_be_found_again():
    with pytest.raises(MareyError, match="multiple of 64"):
        rams(RAM.format("mem.x", 513))


@pytest.fixture(scope="module")
def program():
    return compile_quantised(quantise(tiny_model(MODEL), CONFIG.weight_bits), CONFIG)


@pytest.mark.parametrize("weight_bits", [8, 4])
def test_words_of_weights_are_those_of_the_link(weight_bits):
    config = replace(CONFIG, weight_bits=weight_bits, paired=0)
    program = compile_quantised(quantise(tiny_model(MODEL), weight_bits), config)
    link = pack_wram(config, program.image.weights)
    for column in range(config.cols):
        for row, word in zip(contents(config, program)[f"column{column}.wram.bank0"], link[column::config.cols], strict=True):
            assert number(row) == word


def test_the_tile_that_began_with_its_program(compiler, program, tmp_path):
    """The RTL, its memories initialised, tells the tokens of an emulated tile that a host has
    loaded, in the same cycles."""
    wanted, begun = contents(CONFIG, program), []

    def begin(found):
        name = re.sub(r"\$\d+", "", found[1])
        rows = next(rows for end, rows in wanted.items() if name.endswith(f".{end}"))
        file = tmp_path / f"{name}.hex"
        file.write_text("".join(f"{number(row):x}\n" for row in rows))
        begun.append(name)
        return found[0].replace("marey_ram #(", f'marey_ram #(\n    .INIT("{file}"),')

    text = re.sub(r"^module \\(\S+) (?:(?!^endmodule).)*?marey_ram #\(", begin, verilog.convert(Tile(CONFIG)),
                  flags=re.MULTILINE | re.DOTALL)
    assert len(begun) == len(wanted)

    def story(device):
        return device.run(1, 0, 16), device.tally.measured

    with Device(Endpoint(CONFIG), CONFIG) as device:
        device.load(program)
        expected = story(device)
    with Device(VerilatorTransport(text, name="a tile with its program"), CONFIG) as device:
        device.adopt(program)
        assert story(device) == expected


def test_places_are_held_in_a_design():
    """Every memory that starts empty gets a file of its own rows; the rest of the design is as it
    was."""
    text = "module \\marey\nend\n" + RAM.format("mem.x$17", 64) + RAM.format("mem.y$18", 64)
    files = hold_places(text)
    changed = files.pop("")
    assert rams(text) == rams(changed) == [Ram("marey.mem.x", 12, 64), Ram("marey.mem.y", 12, 64)]
    assert list(files) == ["marey.mem.x.hex", "marey.mem.y.hex"] and len(set(files.values())) == 2
    assert all(len(rows.split()) == 64 and all(int(row, 16) < 1 << 12 for row in rows.split()) for rows in files.values())
    assert [line for line in changed.splitlines() if "INIT" not in line] == text.splitlines()
    assert changed.count('INIT "marey.mem.x.hex"') == 1
