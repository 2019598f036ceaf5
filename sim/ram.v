// The memory of hdl/parts/ram.v, which this text takes the place of where Verilator simulates: a write is one statement, and
// nothing is done in a cycle without one.
module marey_ram #(parameter WIDTH = 8, GRAIN = 8, DEPTH = 2, ADDRESS = 1, INIT = "") (
  input clk,
  input [ADDRESS-1:0] read_address,
  input read_enable,
  output reg [WIDTH-1:0] read_data,
  input [ADDRESS-1:0] write_address,
  input [WIDTH-1:0] write_data,
  input [WIDTH / GRAIN - 1:0] write_enable
);
  reg [WIDTH-1:0] rows [0:DEPTH-1];
  wire [WIDTH-1:0] mask;
  genvar part;
  generate
    if (INIT != "") initial $readmemh(INIT, rows);
    for (part = 0; part < WIDTH / GRAIN; part = part + 1)
      assign mask[part*GRAIN +: GRAIN] = {GRAIN{write_enable[part]}};
  endgenerate
  always @(posedge clk) begin
    if (read_enable) read_data <= rows[read_address];
    if (|write_enable) rows[write_address] <= (rows[write_address] & ~mask) | (write_data & mask);
  end
endmodule
