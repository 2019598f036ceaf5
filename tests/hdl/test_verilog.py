"""The Verilog text: always the same, and described by its sidecar."""

import hashlib
import json
import re
from dataclasses import replace

import pytest

from marey.hdl.spec.isa import Isa
from marey.hdl.spec.protocol import Space, parts
from marey.hdl.tile import PROBE
from marey.hdl.verilog import TOP, generate
from tests.configs import CONFIGS


@pytest.fixture(scope="module")
def square():
    """Text and sidecar of a tile, which take seconds."""
    return generate(CONFIGS[0])


def test_the_same_text_every_time(square):
    (one, first), (other, second) = square, generate(CONFIGS[0])
    assert one == other and first == second
    assert "src =" not in one and "/" not in re.sub(r"//.*|/\*.*?\*/", "", one).replace(" / ", "")
    assert hashlib.sha256(one.encode()).hexdigest() == first["sha256"]


def test_the_text_does_not_grow_with_the_memories(square):
    """Another tile is another text, and memories of 64 times the depth add less than a tenth to it."""
    text, sidecar = generate(replace(CONFIGS[0], wram_depth=1 << 12, mem_depth=1 << 12))
    assert sidecar["sha256"] != square[1]["sha256"]
    assert len(text) < 1.1 * len(square[0])


@pytest.mark.parametrize("depth", [1, 3, 11])
def test_memories_of_one_row_have_no_address(depth):
    """A W-RAM in banks whose depth is odd has one, and Verilator takes no instance without the pin of an address."""
    text, _ = generate(replace(CONFIGS[0], wram_depth=depth, wram_latency=2))
    assert ".ADDRESS(32'd0)" not in text and text.count("marey_ram #(") > 4


def test_the_sidecar_describes_the_tile():
    config = CONFIGS[2]
    text, sidecar = generate(config)
    sidecar = json.loads(json.dumps(sidecar))
    assert sidecar["module"] == TOP and f"module {TOP}(" in text
    assert sidecar["config"]["cols"] == config.cols and sidecar["config_hash"] == config.hash
    assert sidecar["instruction_bits"] == Isa(config).width
    ports = {port["name"]: (port["direction"], port["width"]) for port in sidecar["ports"]}
    assert ports == {"clk": ("input", 1), "rst": ("input", 1), "rx__payload": ("input", 32), "rx__valid": ("input", 1),
                     "rx__ready": ("output", 1), "tx__payload": ("output", 32), "tx__valid": ("output", 1),
                     "tx__ready": ("input", 1), "probe": ("output", len(PROBE.members))}
    assert sidecar["memory"]["WRAM"] == {
        "number": Space.WRAM.value, "entry_bits": 32, "entries": 50 * 8, "parts": parts(32), "words": 50 * 8}
