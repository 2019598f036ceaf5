// Simulation models of device cells that Yosys' own libraries leave empty. They come before those, and take their place.

// Pins, of which Marey has plain inputs and outputs only; Verilator has no tristate in the general model.
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
