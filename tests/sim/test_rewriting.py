"""What is rewritten for Verilator means the same; that a tile computes the same is held by the tests of the backends."""

import re

from marey.hdl import verilog
from marey.hdl.spec.config import PRESETS
from marey.sim import rewriting
from marey.sim.verilator import _verilog

TEXT = """module top(clk, rst, a, y);
  input clk;
  wire clk;
  input rst;
  wire rst;
  input [3:0] a;
  wire [3:0] \\b$1 ;
  assign y = { a[3], a[3], a[3], a, \\b$1 [0], \\b$1 [0], a[2:1] };
  always @(posedge clk) $write("%d %d", a[3], a[3]);
  always @(posedge clk) if (rst) y <= 0;
endmodule
module other(clk, rst);
  input rst;
  wire rst;
endmodule
"""


def test_each_rewriting():
    text = rewriting.rewritten(TEXT, "top", one_edge=False)
    assert "module top(clk, a, y);" in text and "wire rst = 1'h0;" in text
    assert "assign y = { { 3{ a[3] } }, a, { 2{ \\b$1 [0] } }, a[2:1] };" in text
    assert '$write("%d %d", a[3], a[3]);' in text and "posedge" not in text
    assert text.endswith(TEXT[TEXT.index("module other"):])
    assert "@(posedge clk)" in rewriting.rewritten(TEXT, "top", one_edge=True)


def test_other_text_stays():
    text = TEXT.replace("posedge clk", "posedge clock").replace("{ a[3], a[3], a[3], a, \\b$1 [0], \\b$1 [0], a[2:1] }", "a")
    assert rewriting.rewritten(text, "absent", one_edge=False) == text


def test_all_is_found_in_the_text_of_a_tile():
    """A change of how Yosys writes would otherwise make the simulator slower, and nothing else."""
    text = _verilog(PRESETS["tiny4x4"])
    found = rewriting.rewritten(text, verilog.TOP, one_edge=False)
    assert "wire rst = 1'h0;" in found and "posedge" not in found
    assert "rows[write_address] & ~mask" in found and "part*GRAIN +: GRAIN] <=" not in found
    assert len(re.findall(r"\{ \d+\{ ", found)) > 20
