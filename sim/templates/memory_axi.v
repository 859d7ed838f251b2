// Weight memory on AXI4: one burst at a time, stalls at random.
module weight_memory #(
    parameter WORDS = 1,
    parameter BITS = 8,
    parameter ID_BITS = 1,
    parameter BASE = 0
) (
    input clk,
    input rst,
    input [ID_BITS-1:0] arid,
    input [63:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arvalid,
    output reg arready,
    output reg [ID_BITS-1:0] rid,
    output reg [BITS-1:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input rready
);
  reg [BITS-1:0] memory [0:WORDS-1];
  initial $readmemh("weights.hex", memory);

  reg [63:0] at;
  reg [8:0] left;
  reg [ID_BITS-1:0] id;
  wire [63:0] first = (araddr - BASE) / (BITS / 8);
  reg gap;
  wire free = !rvalid || rready;
  always @(posedge clk) begin
    gap = ($urandom & 3) == 0;
    if (rst) begin
      arready <= 0;
      rvalid <= 0;
      left <= 0;
    end else begin
      arready <= left == 0 && !arready && !gap;
      if (arvalid && arready) begin
        if (araddr % (BITS / 8) != 0 || araddr < BASE || first + arlen >= WORDS || arburst != 1
            || 8 << arsize != BITS || araddr % 4096 + (arlen + 1) * (BITS / 8) > 4096) begin
          $display("FAIL: burst of %0d transfers from address %h", arlen + 1, araddr);
          $fatal(1);
        end
        at <= first;
        left <= arlen + 1;
        id <= arid;
        arready <= 0;
      end
      if (free) begin
        rvalid <= left != 0 && !gap;
        if (left != 0 && !gap) begin
          rdata <= memory[at];
          rid <= id;
          rresp <= 0;
          rlast <= left == 1;
          at <= at + 1;
          left <= left - 1;
        end
      end
    end
  end
endmodule
