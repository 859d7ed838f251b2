@PORTS@

@BUS@

  // The host, on its registers.
  integer word_seen;
  reg [31:0] seen;
  reg [31:0] flags;

  task begin_run;
    begin
      bus_read(REG_IDENTITY, seen);
      if (seen !== IDENTITY) begin
        $display("FAIL: identity %h is not %h", seen, IDENTITY);
        $fatal(1);
      end
      bus_write(REG_WEIGHTS_BASE, WEIGHTS_BASE);
      bus_write(REG_PROGRAM_ADDRESS, 0);
    end
  endtask

  task write_program(input integer address, input [15:0] word);
    begin
      bus_write(REG_PROGRAM, {16'b0, word});
    end
  endtask

  task select_stream(input integer number);
    begin
      bus_write(REG_STATE_STREAM, number);
    end
  endtask

  task write_setting(input integer number, input [31:0] word);
    begin
      bus_write(REG_SETTINGS + 4 * number, word);
    end
  endtask

  task write_state(input integer address, input [15:0] word);
    begin
      if (address == 0) bus_write(REG_STATE_ADDRESS, 0);
      bus_write(REG_STATE, {16'b0, word});
    end
  endtask

  task write_position(input [31:0] word);
    begin
      bus_write(REG_POSITION, word);
    end
  endtask

  task wait_for_results;
    begin
      bus_read(REG_FLAGS, flags);
      if (flags[FLAG_RAW])
        for (word_seen = 0; word_seen < RAW_WORDS; word_seen = word_seen + 1) begin
          bus_read(REG_RAW + 4 * word_seen, seen);
          check_raw(word_seen, seen);
        end
      if (flags[FLAG_RESULTS])
        for (word_seen = 0; word_seen < RESULT_WORDS; word_seen = word_seen + 1) begin
          bus_read(REG_RESULTS + 4 * word_seen, seen);
          check_result(word_seen, seen);
        end
    end
  endtask

  task push(input integer word, input [31:0] token);
    begin
      bus_read(REG_FLAGS, flags);
      while (!flags[FLAG_TOKENS]) wait_for_results;
      bus_write(REG_TOKENS + 4 * word, token);
    end
  endtask

  task wait_until_idle;
    begin
      bus_read(REG_IDLE, seen);
      while (!seen[0]) bus_read(REG_IDLE, seen);
    end
  endtask

  task read_state(input integer address, output [15:0] word);
    begin
      if (address == 0) bus_write(REG_STATE_ADDRESS, 0);
      bus_read(REG_STATE, seen);
      word = seen[15:0];
    end
  endtask
