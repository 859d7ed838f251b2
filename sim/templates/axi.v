  task bus_write(input [11:0] offset, input [31:0] data);
    reg address_taken, data_taken;
    begin
      while ($urandom & 1) @(negedge clk);
      s_axi_awaddr = offset;
      s_axi_awvalid = 1;
      s_axi_wdata = data;
      s_axi_wstrb = 4'b1111;
      s_axi_wvalid = 1;
      while (s_axi_awvalid || s_axi_wvalid) begin
        @(posedge clk);
        address_taken = s_axi_awready;
        data_taken = s_axi_wready;
        @(negedge clk);
        if (address_taken) s_axi_awvalid = 0;
        if (data_taken) s_axi_wvalid = 0;
      end
      while ($urandom & 1) @(negedge clk);
      s_axi_bready = 1;
      @(posedge clk);
      while (!s_axi_bvalid) @(posedge clk);
      if (s_axi_bresp !== 0) begin
        $display("FAIL: write of %h to register %h was refused", data, offset);
        $fatal(1);
      end
      @(negedge clk);
      s_axi_bready = 0;
    end
  endtask

  task bus_read(input [11:0] offset, output [31:0] data);
    begin
      while ($urandom & 1) @(negedge clk);
      s_axi_araddr = offset;
      s_axi_arvalid = 1;
      @(posedge clk);
      while (!s_axi_arready) @(posedge clk);
      @(negedge clk);
      s_axi_arvalid = 0;
      while ($urandom & 1) @(negedge clk);
      s_axi_rready = 1;
      @(posedge clk);
      while (!s_axi_rvalid) @(posedge clk);
      data = s_axi_rdata;
      if (s_axi_rresp !== 0) begin
        $display("FAIL: read of register %h was refused", offset);
        $fatal(1);
      end
      @(negedge clk);
      s_axi_rready = 0;
    end
  endtask
