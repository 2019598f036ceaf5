// A memory that starts undefined, or with the rows of the file INIT: a read and a write each cycle; a row that is read while it
// is written is undefined.
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
  integer part;
  generate
    if (INIT != "") initial $readmemh(INIT, rows);
  endgenerate
  always @(posedge clk) begin
    if (read_enable) read_data <= rows[read_address];
    for (part = 0; part < WIDTH / GRAIN; part = part + 1)
      if (write_enable[part]) rows[write_address][part*GRAIN +: GRAIN] <= write_data[part*GRAIN +: GRAIN];
  end
endmodule
