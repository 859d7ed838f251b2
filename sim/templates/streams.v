  // The host, on the accelerator's own ports.
@PORTS@

  always @(posedge clk) begin
    if (results__valid && results__ready) check_result(0, results__payload);
    if (raw__valid && raw__ready) check_raw(0, raw__payload);
  end
  always @(negedge clk) begin
    results__ready = $urandom;
    raw__ready = $urandom;
  end

  task begin_run;
    begin
    end
  endtask

  task write_program(input integer address, input [15:0] word);
    begin
      program_write = 1;
      program_address = address;
      program_word = word;
      @(negedge clk);
      program_write = 0;
    end
  endtask

  task select_stream(input integer number);
    begin
      state_stream = number;
    end
  endtask

  task write_setting(input integer number, input [SETTING_BITS-1:0] word);
    begin
      settings = word;
    end
  endtask

  task write_state(input integer address, input [15:0] word);
    begin
      state_write = 1;
      state_address = address;
      state_write_value = word;
      @(negedge clk);
      state_write = 0;
    end
  endtask

  task write_position(input [31:0] word);
    begin
      set_position = 1;
      new_position = word;
      @(negedge clk);
      set_position = 0;
    end
  endtask

  task push(input integer word, input [TOKEN_BITS-1:0] token);
    begin
      while ($urandom & 1) @(negedge clk);
      tokens__valid = 1;
      tokens__payload = token;
      @(posedge clk);
      while (!tokens__ready) @(posedge clk);
      @(negedge clk);
      tokens__valid = 0;
    end
  endtask

  task wait_for_results;
    begin
      @(negedge clk);
    end
  endtask

  task wait_until_idle;
    begin
      @(negedge clk);
      while (!idle) @(negedge clk);
    end
  endtask

  task read_state(input integer address, output [15:0] word);
    begin
      state_address = address;
      repeat (2) @(negedge clk);
      word = state_value;
    end
  endtask
