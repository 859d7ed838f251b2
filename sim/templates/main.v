// Self-checking testbench of @TOP@, written by tritforge. It needs a simulator and the .hex files beside it.
//
// Texts are run one after another: a state is loaded, tokens are pushed, and what the accelerator chooses, its raw
// logits and its state at the end are compared with the golden model's. Everything waits and stalls at random.
// The host's inputs change with the falling edge; what holds at the rising edge counts.

module @TOP@_tb;
@CONSTANTS@

  reg clk = 0;
  reg rst = 1;
  always #5 clk = ~clk;

  reg [15:0] program_words [0:PROGRAM_WORDS-1];
  // Of each text: stream, position, tokens, results, raw logits.
  reg [31:0] texts [0:5*TEXTS-1];
  reg [TOKEN_BITS-1:0] token_words [0:TOKEN_WORDS*TOKENS-1];
  reg [SETTING_BITS-1:0] setting_words [0:SETTINGS*TEXTS-1];
  reg [RESULT_BITS-1:0] expected_results [0:RESULT_WORDS*RESULTS-1];
  reg [RAW_BITS-1:0] expected_raw [0:RAW_WORDS*RAWS-1];
  reg [15:0] starts [0:STATES*TEXTS-1];
  reg [15:0] ends [0:STATES*TEXTS-1];
  initial begin
    $readmemh("program.hex", program_words);
    $readmemh("texts.hex", texts);
    $readmemh("tokens.hex", token_words);
    $readmemh("settings.hex", setting_words);
    $readmemh("results.hex", expected_results);
    $readmemh("raw.hex", expected_raw);
    $readmemh("starts.hex", starts);
    $readmemh("ends.hex", ends);
  end

  integer results_seen = 0;
  integer raw_seen = 0;

  task check_result(input integer word, input [RESULT_BITS-1:0] value);
    begin
      if (results_seen >= RESULTS) begin
        $display("FAIL: a result too many");
        $fatal(1);
      end
      if (value !== expected_results[RESULT_WORDS*results_seen+word]) begin
        $display("FAIL: result %0d, word %0d: expected %h, got %h", results_seen, word,
                 expected_results[RESULT_WORDS*results_seen+word], value);
        $fatal(1);
      end
      if (word == RESULT_WORDS - 1) results_seen = results_seen + 1;
    end
  endtask

  task check_raw(input integer word, input [RAW_BITS-1:0] value);
    begin
      if (raw_seen >= RAWS) begin
        $display("FAIL: a raw logit too many");
        $fatal(1);
      end
      if (value !== expected_raw[RAW_WORDS*raw_seen+word]) begin
        $display("FAIL: raw logit %0d, word %0d: expected %h, got %h", raw_seen, word,
                 expected_raw[RAW_WORDS*raw_seen+word], value);
        $fatal(1);
      end
      if (word == RAW_WORDS - 1) raw_seen = raw_seen + 1;
    end
  endtask

  // Nothing takes longer between two weight beats.
  integer quiet = 0;
  wire beat;
  always @(posedge clk) begin
    quiet <= beat ? 0 : quiet + 1;
    if (quiet > PATIENCE) begin
      $display("FAIL: no weight beat for %0d cycles, %0d of %0d results seen", PATIENCE, results_seen, RESULTS);
      $fatal(1);
    end
  end

@HOST@

@MEMORY@

  integer text, k, part;
  integer pushed = 0;
  integer results_due = 0;
  integer raw_due = 0;
  reg [15:0] value;
  initial begin
    repeat (4) @(negedge clk);
    rst = 0;
    begin_run;
    for (k = 0; k < PROGRAM_WORDS; k = k + 1) write_program(k, program_words[k]);
    for (text = 0; text < TEXTS; text = text + 1) begin
      select_stream(texts[5*text]);
      for (k = 0; k < SETTINGS; k = k + 1) write_setting(k, setting_words[SETTINGS*text+k]);
      for (k = 0; k < STATES; k = k + 1) write_state(k, starts[STATES*text+k]);
      write_position(texts[5*text+1]);
      results_due = results_due + texts[5*text+3];
      raw_due = raw_due + texts[5*text+4];
      for (k = 0; k < texts[5*text+2]; k = k + 1)
        for (part = 0; part < TOKEN_WORDS; part = part + 1) begin
          push(part, token_words[pushed]);
          pushed = pushed + 1;
        end
      while (results_seen < results_due || raw_seen < raw_due) wait_for_results;
      wait_until_idle;
      for (k = 0; k < STATES; k = k + 1) begin
        read_state(k, value);
        if (value !== ends[STATES*text+k]) begin
          $display("FAIL: text %0d, state %0d: expected %h, got %h", text, k, ends[STATES*text+k], value);
          $fatal(1);
        end
      end
    end
    $display("PASS: %0d tokens chosen, %0d raw logits and %0d state elements are equal", results_seen, raw_seen,
             STATES * TEXTS);
    $finish;
  end
endmodule
