// Weight memory on Wishbone: answers after a random number of cycles.
module weight_memory #(
    parameter WORDS = 1,
    parameter BITS = 8,
    parameter ADDRESS_BITS = 32,
    parameter BASE = 0
) (
    input clk,
    input rst,
    input cyc,
    input stb,
    input we,
    input [ADDRESS_BITS-1:0] adr,
    output [BITS-1:0] dat_r,
    output ack,
    output err
);
  reg [BITS-1:0] memory [0:WORDS-1];
  initial $readmemh("weights.hex", memory);

  wire [31:0] at = {32'b0, adr} - BASE / (BITS / 8);
  reg ready;
  assign ack = cyc && stb && ready;
  assign err = 0;
  assign dat_r = memory[at];
  always @(posedge clk) begin
    ready <= ($urandom & 3) != 0;
    if (rst) ready <= 0;
    else if (ack && (we || at >= WORDS)) begin
      $display("FAIL: access to word %0d of %0d", at, WORDS);
      $fatal(1);
    end
  end
endmodule
