// Weight memory behind a read channel: stalls at random.
module weight_memory #(
    parameter BEATS = 1,
    parameter BITS = 8
) (
    input clk,
    input rst,
    input request_valid,
    output reg request_ready,
    input [63:0] request,
    output reg beats_valid,
    input beats_ready,
    output reg [BITS-1:0] beats
);
  reg [BITS-1:0] memory [0:BEATS-1];
  initial $readmemh("weights.hex", memory);

  // Requests that wait, and the one at work.
  reg [63:0] queue [0:3];
  reg [2:0] written;
  reg [2:0] read;
  reg [31:0] address;
  reg [31:0] left;
  reg gap;
  wire free = !beats_valid || beats_ready;
  always @(posedge clk) begin
    gap = ($urandom & 3) == 0;
    if (rst) begin
      request_ready <= 0;
      beats_valid <= 0;
      written <= 0;
      read <= 0;
      left <= 0;
    end else begin
      request_ready <= !gap && !request_ready && written - read != 3'd4;
      if (request_valid && request_ready) begin
        if (request[63:32] == 0 || {1'b0, request[31:0]} + request[63:32] > BEATS) begin
          $display("FAIL: request for %0d beats from %0d of %0d", request[63:32], request[31:0], BEATS);
          $fatal(1);
        end
        queue[written[1:0]] <= request;
        written <= written + 1;
      end
      if (left == 0 && written != read) begin
        {left, address} <= queue[read[1:0]];
        read <= read + 1;
      end
      if (free) begin
        beats_valid <= left != 0 && !gap;
        if (left != 0 && !gap) begin
          beats <= memory[address];
          address <= address + 1;
          left <= left - 1;
        end
      end
    end
  end
endmodule
