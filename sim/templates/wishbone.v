  task bus_access(input write, input [11:0] offset, input [31:0] written, output [31:0] data);
    begin
      while ($urandom & 1) @(negedge clk);
      s_wb_cyc = 1;
      s_wb_stb = 1;
      s_wb_we = write;
      s_wb_adr = offset[11:2];
      s_wb_sel = 4'b1111;
      s_wb_dat_w = written;
      @(posedge clk);
      while (!s_wb_ack && !s_wb_err) @(posedge clk);
      data = s_wb_dat_r;
      if (s_wb_err !== 0) begin
        $display("FAIL: access to register %h was refused", offset);
        $fatal(1);
      end
      @(negedge clk);
      s_wb_cyc = 0;
      s_wb_stb = 0;
    end
  endtask

  reg [31:0] ignored;
  task bus_write(input [11:0] offset, input [31:0] data);
    begin
      bus_access(1, offset, data, ignored);
    end
  endtask

  task bus_read(input [11:0] offset, output [31:0] data);
    begin
      bus_access(0, offset, 0, data);
    end
  endtask
