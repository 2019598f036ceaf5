// Simulation models of device cells that are empty in Yosys' own libraries. This text comes first, so its models are used.

// Pins. These models have no tristate, which Verilator could not simulate here. The pins of an SDRAM's data bus, which have
// inputs and outputs, tell what they drive at ports of their own (chip.py).
module SB_IO #(
  parameter [5:0] PIN_TYPE = 0, parameter PULLUP = 0, IO_STANDARD = "SB_LVCMOS"
) (inout PACKAGE_PIN, input CLOCK_ENABLE, input OUTPUT_ENABLE, input D_OUT_0, output D_IN_0);
  generate
    if (PIN_TYPE[5:2] != 0) assign PACKAGE_PIN = D_OUT_0;
  endgenerate
  assign D_IN_0 = PACKAGE_PIN;
endmodule

module SB_GB_IO #(
  parameter [5:0] PIN_TYPE = 0, parameter PULLUP = 0, IO_STANDARD = "SB_LVCMOS"
) (input PACKAGE_PIN, input CLOCK_ENABLE, output GLOBAL_BUFFER_OUTPUT);
  assign GLOBAL_BUFFER_OUTPUT = PACKAGE_PIN;
endmodule

// PLLs: the output is the input, which the simulator clocks at the output's rate.
module SB_PLL40_CORE #(
  parameter FEEDBACK_PATH = "SIMPLE", DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0
) (input REFERENCECLK, input RESETB, input BYPASS, output PLLOUTGLOBAL, output LOCK);
  assign PLLOUTGLOBAL = REFERENCECLK;
  assign LOCK = RESETB;
endmodule

module SB_PLL40_PAD #(
  parameter FEEDBACK_PATH = "SIMPLE", DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0
) (input PACKAGEPIN, input RESETB, input BYPASS, output PLLOUTGLOBAL, output LOCK);
  assign PLLOUTGLOBAL = PACKAGEPIN;
  assign LOCK = RESETB;
endmodule

module EHXPLLL #(
  parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOP_CPHASE = 0, FEEDBK_PATH = "CLKOP", CLKOP_ENABLE = "ENABLED",
  CLKOS_DIV = 8, CLKOS_CPHASE = 0, CLKOS_ENABLE = "DISABLED",
  CLKOS2_DIV = 8, CLKOS2_CPHASE = 0, CLKOS2_FPHASE = 0, CLKOS2_ENABLE = "DISABLED"
) (
  input CLKI, input CLKFB, input RST, input STDBY, input PHASESEL0, input PHASESEL1, input PHASEDIR, input PHASESTEP,
  input PHASELOADREG, input PLLWAKESYNC, input ENCLKOP, input ENCLKOS, input ENCLKOS2,
  output CLKOP, output CLKOS, output CLKOS2, output LOCK
);
  // The simulator clocks CLKI at the rate of the fastest output: at twice that of CLKOS, which changes at its falling edges
  // then, so that CLKOS2 rises half of its period after CLKOS.
  reg half = 0;
  always @(negedge CLKI) half <= !half;
  assign CLKOP = CLKI;
  assign CLKOS = CLKOS2_ENABLE == "ENABLED" && CLKOS_DIV == 2 * CLKOS2_DIV ? half : CLKI;
  assign CLKOS2 = CLKI;
  assign LOCK = !RST;
endmodule

module TRELLIS_IO #(parameter DIR = "INPUT") (inout B, input I, input T, output O, output OUT, output DRIVES);
  generate
    if (DIR == "OUTPUT") assign B = I;
  endgenerate
  assign O = B;
  assign OUT = I;
  assign DRIVES = !T;
endmodule

// Two bits in a clock cycle to a pin, and from it. An ODDRX1F has two registers more than a flip-flop
// (https://github.com/amaranth-lang/amaranth/pull/1668, measured there). An IDDRX1F gives what it took at a rising edge and at
// the falling edge after it, both at the next rising edge (the diagram of Amaranth's io.DDRBuffer).
module ODDRX1F #(parameter GSR = "") (input SCLK, input RST, input D0, input D1, output Q);
  reg [1:0] first = 0, second = 0, last = 0;
  always @(posedge SCLK) begin
    first <= {D1, D0};
    second <= first;
    last <= second;
  end
  assign Q = SCLK ? last[0] : last[1];
endmodule

module IDDRX1F #(parameter GSR = "") (input SCLK, input RST, input D, output reg Q0, output reg Q1);
  reg rising = 0, falling = 0;
  initial begin
    Q0 = 0;
    Q1 = 0;
  end
  always @(negedge SCLK) falling <= D;
  always @(posedge SCLK) begin
    rising <= D;
    Q0 <= rising;
    Q1 <= falling;
  end
endmodule

// The core of a DP16KD: 1,024 rows of 18 bits behind two ports, each 1 to 18 bits wide, or 36 bits if port A writes and
// port B reads. cells.py adds the ports of the cell. Written from Lattice's memory usage guide (FPGA-TN-02204).
module ecp5_ram #(
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL",
  parameter [64*320-1:0] INIT = 0
) (
  input CLKA, input CEA, input WEA, input RSTA, input [13:0] ADA, input [17:0] DIA, output [17:0] DOA,
  input CLKB, input CEB, input WEB, input RSTB, input [13:0] ADB, input [17:0] DIB, output [17:0] DOB
);
  reg [17:0] rows [0:1023];
  reg [17:0] a = 0, b = 0, b_high = 0;
  integer row;
  initial for (row = 0; row < 1024; row = row + 1) rows[row] = INIT[row / 16 * 320 + row % 16 * 20 +: 18];

  // First bit of an entry in its row. Each half of a row has 9 bits; ports below 9 bits do not see the ninth.
  function [4:0] offset(input integer width, input [3:0] address);
    offset = width >= 18 ? 0 : (address[3] ? 9 : 0) + (width == 9 ? 0 : address[2:0] / width * width);
  endfunction

  function [17:0] mask(input integer width, input [3:0] address);
    mask = width >= 18 ? {{9{address[1]}}, {9{address[0]}}} : ((18'd1 << width) - 18'd1) << offset(width, address);
  endfunction

  function [17:0] placed(input integer width, input [3:0] address, input [17:0] data);
    placed = data << offset(width, address);
  endfunction

  wire [17:0] row_a = rows[ADA[13:4]], row_b = rows[ADB[13:4]];
  wire [17:0] mask_a = mask(DATA_WIDTH_A, ADA[3:0]), mask_b = mask(DATA_WIDTH_B, ADB[3:0]);
  wire [17:0] new_a = row_a & ~mask_a | placed(DATA_WIDTH_A, ADA[3:0], DIA) & mask_a;
  wire [17:0] new_b = row_b & ~mask_b | placed(DATA_WIDTH_B, ADB[3:0], DIB) & mask_b;
  wire [9:0] high_a = {ADA[13:5], 1'b1}, high_b = {ADB[13:5], 1'b1};
  wire [17:0] mask_high = {{9{ADA[3]}}, {9{ADA[2]}}};

  always @(posedge CLKA) begin
    if (CEA && WEA && DATA_WIDTH_A == 36) begin
      rows[{ADA[13:5], 1'b0}] <= rows[{ADA[13:5], 1'b0}] & ~mask_a | DIA & mask_a;
      rows[high_a] <= rows[high_a] & ~mask_high | DIB & mask_high;
    end else if (CEA && WEA) rows[ADA[13:4]] <= new_a;
    if (CEA && (!WEA || WRITEMODE_A != "NORMAL"))
      a <= (WEA && WRITEMODE_A == "WRITETHROUGH" ? new_a : row_a) >> offset(DATA_WIDTH_A, ADA[3:0]);
    if (RSTA) a <= 0;
  end

  always @(posedge CLKB) begin
    if (CEB && WEB) rows[ADB[13:4]] <= new_b;
    if (CEB && (!WEB || WRITEMODE_B != "NORMAL")) begin
      b <= DATA_WIDTH_B == 36 ? rows[{ADB[13:5], 1'b0}]
        : (WEB && WRITEMODE_B == "WRITETHROUGH" ? new_b : row_b) >> offset(DATA_WIDTH_B, ADB[3:0]);
      b_high <= rows[high_b];
    end
    if (RSTB) begin
      b <= 0;
      b_high <= 0;
    end
  end

  assign DOA = DATA_WIDTH_B == 36 ? b : a;
  assign DOB = DATA_WIDTH_B == 36 ? b_high : b;
endmodule

// The core of a MULT18X18D: a product with registers for inputs, pipeline and output, all on the first clock.
module ecp5_multiplier #(
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE"
) (input CLK0, input CE0, input RST0, input [17:0] A, input [17:0] B, input SIGNEDA, input SIGNEDB, output [35:0] P);
  reg [18:0] a_kept = 0, b_kept = 0;
  reg [35:0] inner = 0, outer = 0;
  wire [18:0] a = {SIGNEDA & A[17], A}, b = {SIGNEDB & B[17], B};
  wire signed [18:0] a_used = REG_INPUTA_CLK == "NONE" ? a : a_kept, b_used = REG_INPUTB_CLK == "NONE" ? b : b_kept;
  wire signed [37:0] product = a_used * b_used;
  wire [35:0] piped = REG_PIPELINE_CLK == "NONE" ? product[35:0] : inner;
  always @(posedge CLK0) if (RST0) begin
    a_kept <= 0;
    b_kept <= 0;
    inner <= 0;
    outer <= 0;
  end else if (CE0) begin
    a_kept <= a;
    b_kept <= b;
    inner <= product[35:0];
    outer <= piped;
  end
  assign P = REG_OUTPUT_CLK == "NONE" ? piped : outer;
endmodule
