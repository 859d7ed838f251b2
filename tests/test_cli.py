"""The command line: what each command prints and writes, and how mistakes end."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tritforge.host import console, options
from tritforge.host.cli import cli
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.config import ModelConfig
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Image
from tritforge.models.loading import load
from tritforge.models.quantise import quantise
from tritforge.models.software import FloatEngine, GoldenEngine
from tritforge.models.synthesis import synthesise

A = str(Path(__file__).parent / "vectors" / "A")
SYMBOLS = "\n !',.abcdefghijklmnopqrstuvwxyz"
END = "<|endoftext|>"


def run(*arguments: Any, stdin: str | bytes | None = None) -> Result:
    """Run a command; only the exceptions that click makes exit codes of may end it."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failure(*arguments: Any, stdin: str | bytes | None = None) -> str:
    """Run a command that the user got wrong; return what it says after `error: `, one line."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 1
    assert result.stdout == ""
    (*_, line) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that reads characters, the end token first."""
    directory = tmp_path_factory.mktemp("models") / "letters"
    config = ModelConfig(
        hidden_size=24,
        num_hidden_layers=2,
        vocab_size=len(SYMBOLS) + 1,
        intermediate_size=40,
        bos_token_id=None,
        eos_token_id=0,
    )
    synthesise(config, directory, 3, "float32")
    tokenizer = Tokenizer(models.WordLevel({END: 0, **{c: n for n, c in enumerate(SYMBOLS, 1)}}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.npy"
    np.save(path, np.arange(20))
    return path


# The frame --------------------------------------------------------------------------------------------------


def test_the_help_names_every_command() -> None:
    text = run("--help").stdout
    for name in (
        "generate",
        "logits",
        "verify",
        "eval",
        "pack",
        "inspect",
        "synth-checkpoint",
        "train",
        "zoo",
        "doctor",
        "demo",
        "bench",
    ):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_teaches_with_examples(name: str) -> None:
    text = run(name, "--help").stdout
    examples = text[text.index("Examples:") :]
    assert f"tritforge {name}" in examples


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_option_is_explained(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help] == []


def test_help_needs_neither_numpy_models_nor_hardware() -> None:
    program = (
        "import sys; from tritforge.host.cli import cli\n"
        "try: cli(['pack', '--help'])\n"
        "except SystemExit: print(sorted({'torch', 'amaranth', 'rich', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_usage_errors_end_with_2(letters: Path, tokens: Path) -> None:
    for arguments in (
        ["nonsense"],
        ["generate", letters],
        ["generate", letters, "--prompt", "a", "--tokens", tokens, "--max-new", 1, "--engine", "float"],
        ["generate", letters, "--prompt", "a", "--max-new", -1, "--engine", "float"],
        ["generate", letters, "--prompt", "a", "--max-new", 1, "--engine", "other"],
        ["generate", letters, "--prompt", "a", "--max-new", 1, "--engine", "float", "--seed", -1],
        ["verify", letters],
        ["verify", letters, "--prompt", "a", "--tokens", tokens],
        ["logits", letters, "--tokens", tokens, "--engine", "float", "--out", "x", "--scales", "y"],
        ["train", "-o", "x"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stdout == ""


@pytest.mark.parametrize("temperature", ["nan", "inf", "-1", "0.001", "1000"])
def test_a_temperature_out_of_range_is_refused(letters: Path, temperature: str) -> None:
    result = run(
        "generate",
        letters,
        "--prompt",
        "a",
        "--max-new",
        1,
        "--engine",
        "float",
        "--temperature",
        temperature,
    )
    assert result.exit_code == 2
    assert "neither 0 nor from 0.01 to 100" in result.stderr


@pytest.mark.parametrize(
    "raised", [KeyboardInterrupt, MemoryError, PermissionError(13, "Permission denied", "here")]
)
def test_what_interrupts_a_command_ends_it_cleanly(
    raised: Any, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(GoldenEngine, "generate", fail)
    result = run("generate", letters, "--prompt", "a", "--max-new", 1, "--engine", "golden")
    expected = {
        KeyboardInterrupt: (130, "interrupted\n"),
        MemoryError: (1, "error: there is not enough memory on this machine\n"),
    }.get(raised, (1, "error: here: Permission denied\n"))
    assert (result.exit_code, result.stderr) == expected


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_lines(letters: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in letters.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "novel": 1}))
    result = run("generate", copy, "--prompt", "a", "--max-new", 1, "--engine", "float")
    assert result.exit_code == 0
    assert "warning: unknown fields in config.json are ignored: novel\n" in result.stderr


# Models -----------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = failure("generate", tmp_path / "absent", "--prompt", "a", "--max-new", 1, "--engine", "golden")
    assert "there is no model" in message
    assert "absent" in message


def test_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    assert "holds no config.json" in failure("inspect", tmp_path)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"not an image")
    assert "is not a tritforge image" in failure("inspect", path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"eos_token_id": 7}, {0, 7}),
        ({"eos_token_id": [1, 2]}, {0, 1, 2}),
        ({}, {0}),
        ({"eos_token_id": None}, {0}),
    ],
)
def test_a_text_ends_with_any_end_token_of_both_configurations(
    written: dict[str, Any], expected: set[int], make_model: Callable[..., Path]
) -> None:
    directory = make_model(eos_token_id=0)
    (directory / "generation_config.json").write_text(json.dumps(written))
    assert load(directory).stop == expected


@pytest.mark.parametrize("written", ["end", True, [[1]], {"a": 1}])
def test_a_wrong_end_token_is_refused(written: object, make_model: Callable[..., Path]) -> None:
    directory = make_model()
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": written}))
    assert "generation_config.json: eos_token_id must be" in failure("inspect", directory)


# generate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["float", "golden"])
def test_generate_prints_the_new_text_alone(engine: str, letters: Path) -> None:
    command = [
        "generate",
        letters,
        "--prompt",
        "one day",
        "--max-new",
        30,
        "--engine",
        engine,
        "--temperature",
        1,
    ]
    plain, as_json = run(*command), run(*command, "--json")
    result = json.loads(as_json.stdout)
    assert plain.stdout == result["text"]
    assert result["text"] == load(letters).tokenizer.decode(result["tokens"])  # type: ignore[union-attr]
    assert set(result) == {
        "model",
        "engine",
        "text",
        "tokens",
        "prompt_tokens_per_second",
        "tokens_per_second",
    }
    assert (result["model"], result["engine"]) == (str(letters), engine)
    assert result["prompt_tokens_per_second"] > 0
    assert result["tokens_per_second"] > 0
    assert "prompt: 7 tokens, " in plain.stderr
    assert f"generation: {len(result['tokens'])} tokens, " in plain.stderr


def test_generate_computes_what_the_engine_does(letters: Path) -> None:
    result = json.loads(
        run(
            "generate",
            letters,
            "--prompt",
            "ab",
            "--max-new",
            9,
            "--engine",
            "golden",
            "--seed",
            4,
            "--temperature",
            0.9,
            "--json",
        ).stdout
    )
    prompt = [1 + SYMBOLS.index("a"), 1 + SYMBOLS.index("b")]
    engine = GoldenEngine(quantise(Checkpoint(letters)))
    expected = list(engine.generate(prompt, 9, temperature=0.9, seed=4, stop=frozenset({0})))
    assert result["tokens"] == expected


def test_generation_ends_with_the_end_token_and_its_text(letters: Path) -> None:
    for seed in range(20):
        result = json.loads(
            run(
                "generate",
                letters,
                "--prompt",
                "a",
                "--max-new",
                200,
                "--engine",
                "golden",
                "--temperature",
                5,
                "--seed",
                seed,
                "--json",
            ).stdout
        )
        if len(result["tokens"]) < 200:
            assert result["tokens"].index(0) == len(result["tokens"]) - 1
            assert result["text"].endswith(END)
            return
        assert 0 not in result["tokens"]
    pytest.fail("no text ended")


def test_the_prompt_comes_from_standard_input_without_its_last_line_break(letters: Path) -> None:
    options = ["--max-new", 12, "--engine", "golden"]
    given = run("generate", letters, "--prompt", "one\n", *options).stdout
    assert run("generate", letters, *options, stdin="one\n\n").stdout == given
    assert (
        run("generate", letters, "--prompt", "one", *options).stdout
        == run("generate", letters, *options, stdin="one\n").stdout
    )


def test_standard_input_must_be_utf_8(letters: Path) -> None:
    message = failure("generate", letters, "--max-new", 1, "--engine", "golden", stdin=b"a\xff")
    assert message == "standard input is not UTF-8: byte 1 fits no character"


def test_a_character_outside_the_vocabulary_is_refused_with_its_position(letters: Path) -> None:
    message = failure("generate", letters, "--prompt", "ab☃c", "--max-new", 1, "--engine", "golden")
    assert "'☃'" in message
    assert "position 2" in message


def test_an_empty_prompt_starts_a_text_after_the_end_token(letters: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "end.npy", np.array([0]))
    options = ["--max-new", 12, "--engine", "golden", "--json"]
    empty = json.loads(run("generate", letters, "--prompt", "", *options).stdout)
    ended = json.loads(run("generate", letters, "--tokens", tmp_path / "end.npy", *options).stdout)
    assert empty["tokens"] == ended["tokens"]


def test_an_empty_prompt_needs_a_token_that_starts_a_text(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "none.npy", np.array([], np.int64))
    model = make_model(bos_token_id=None, eos_token_id=None)
    message = failure(
        "generate", model, "--tokens", tmp_path / "none.npy", "--max-new", 1, "--engine", "golden"
    )
    assert "no token that starts a text" in message


def test_a_model_without_a_tokenizer_prints_token_numbers(tokens: Path) -> None:
    command = ["generate", A, "--tokens", tokens, "--max-new", 5, "--engine", "golden"]
    result = json.loads(run(*command, "--json").stdout)
    assert run(*command).stdout.split() == [str(token) for token in result["tokens"]]
    assert result["text"] == ""


def test_a_prompt_for_a_model_without_a_tokenizer_is_refused() -> None:
    message = failure("generate", A, "--prompt", "a", "--max-new", 1, "--engine", "golden")
    assert "has no tokenizer" in message
    assert "--tokens" in message


@pytest.mark.parametrize("engine", ["float", "golden"])
def test_a_state_continues_an_interrupted_text(engine: str, letters: Path, tmp_path: Path) -> None:
    sampling = ["--engine", engine, "--temperature", 1, "--json"]

    def generate(prompt: str, count: int, *more: Any) -> list[int]:
        result = run("generate", letters, "--prompt", prompt, "--max-new", count, *sampling, *more)
        return json.loads(result.stdout)["tokens"]  # type: ignore[no-any-return]

    whole = generate("one", 12)
    assert len(whole) == 12
    state = tmp_path / "text.npz"
    parts = [generate(prompt, count, "--state", state) for prompt, count in (("one", 5), ("", 0), ("", 7))]
    assert [token for part in parts for token in part] == whole


def test_a_state_of_another_engine_is_refused(letters: Path, tmp_path: Path) -> None:
    common = ["generate", letters, "--prompt", "a", "--max-new", 1, "--state", tmp_path / "state"]
    assert run(*common, "--engine", "golden").exit_code == 0
    assert "the float engine cannot continue" in failure(*common, "--engine", "float")


def test_temperature_0_is_greedy(letters: Path) -> None:
    command = ["generate", letters, "--prompt", "a", "--max-new", 9, "--engine", "golden"]
    assert run(*command, "--temperature", 0, "--seed", 5).stdout == run(*command).stdout


# Tokens in files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((2, 2), np.int64), "not int64 of shape [2, 2]"),
        (np.array([1.0]), "not float64 of shape [1]"),
        (np.array(["a"]), "must hold a one-dimensional array of integers"),
        (np.array([0, 37]), "token 37 at position 1"),
        (np.array([2**64 - 1], np.uint64), "token 18446744073709551615 at position 0"),
        (np.array([-1], np.int8), "token -1 at position 0"),
        (np.array([{}], object), "is not an .npy file"),
    ],
)
def test_a_file_without_tokens_of_the_model_is_refused(
    array: Any, expected: str, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    np.save(tmp_path / "tokens.npy", array, allow_pickle=True)
    common = ["--tokens", tmp_path / "tokens.npy", "--engine", "golden"]
    model = make_model()
    assert expected in failure("logits", model, *common, "--out", tmp_path / "out.npy")
    assert expected in failure("generate", model, *common, "--max-new", 1)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00\x05\x00{'a'", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokens.npy"
    path.write_bytes(content)
    with pytest.raises(TritforgeError, match=r"is not an \.npy file"):
        options.read_tokens(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match=r"absent\.npy cannot be read: No such file"):
        options.read_tokens(tmp_path / "absent.npy")
    with pytest.raises(TritforgeError, match=r"absent\.txt cannot be read: No such file"):
        options.read_text(tmp_path / "absent.txt")


# logits -----------------------------------------------------------------------------------------------------


def test_logits_are_written_as_float32_or_as_sums_with_scales(tokens: Path, tmp_path: Path) -> None:
    out, scales = tmp_path / "out.npy", tmp_path / "scales.npy"
    assert run("logits", A, "--tokens", tokens, "--engine", "float", "--out", out).exit_code == 0
    floats = np.load(out)
    expected, _ = FloatEngine(Checkpoint(A)).logits(np.arange(20))
    assert floats.dtype == np.float32
    assert np.array_equal(floats, expected)

    assert (
        run("logits", A, "--tokens", tokens, "--engine", "golden", "--out", out, "--scales", scales).exit_code
        == 0
    )
    sums, factors = np.load(out), np.load(scales)
    assert (sums.dtype, sums.shape) == (np.int32, (20, 256))
    assert (factors.dtype, factors.shape) == (np.float64, (20,))
    golden = GoldenEngine(quantise(Checkpoint(A)))
    expected_sums, expected_factors = golden.logits(np.arange(20))
    assert np.array_equal(sums, expected_sums)
    assert np.array_equal(factors, expected_factors)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.npy", "scales.npy", "tokens.npy"]


def test_long_texts_have_the_logits_of_one_stream(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 256, 600)
    np.save(tmp_path / "tokens.npy", ids)
    command = [
        "logits",
        A,
        "--tokens",
        tmp_path / "tokens.npy",
        "--engine",
        "golden",
        "--out",
        tmp_path / "out.npy",
    ]
    assert run(*command).exit_code == 0
    sums, _ = GoldenEngine(quantise(Checkpoint(A))).logits(ids)
    assert np.array_equal(np.load(tmp_path / "out.npy"), sums)


def test_no_tokens_give_an_empty_array(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.array([], np.int64))
    command = [
        "logits",
        A,
        "--tokens",
        tmp_path / "tokens.npy",
        "--engine",
        "golden",
        "--out",
        tmp_path / "out.npy",
    ]
    assert run(*command).exit_code == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 256)


def test_a_result_that_cannot_be_written_is_named(tokens: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "out.npy"
    message = failure("logits", A, "--tokens", tokens, "--engine", "golden", "--out", out)
    assert message == f"{out} cannot be written: No such file or directory"


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_folder_is_no_place_for_a_result(out: str, tokens: Path) -> None:
    for command in (
        ["logits", A, "--tokens", tokens, "--engine", "golden", "--out", out],
        ["pack", A, "-o", out],
    ):
        assert failure(*command) == f"{out} cannot be written: it is a directory"


# eval -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["float", "golden"])
def test_eval_scores_the_prepared_text(engine: str, letters: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    # The dash, the capital and the snowman are not in the vocabulary; the curly quote becomes a straight one.
    path.write_text(f"once upon\n{END}\nit’s a day— T☃", encoding="utf-8")
    result = run("eval", letters, "--text", path, "--engine", engine, "--json")
    found = json.loads(result.stdout)
    assert set(found) == {"bits_per_char", "perplexity", "tokens", "saturations"}
    assert "3 characters, 3 different" in result.stderr

    ids = [1 + SYMBOLS.index(c) for c in "once upon"] + [0] + [1 + SYMBOLS.index(c) for c in "it's a day "]
    runner = (
        FloatEngine(Checkpoint(letters)) if engine == "float" else GoldenEngine(quantise(Checkpoint(letters)))
    )
    values, scales = runner.logits(ids[:-1])
    logits = values.astype(np.float64) * (1.0 if scales is None else scales[:, None])
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(ids) - 1), ids[1:]]
    assert found["tokens"] == len(ids) - 1
    assert found["bits_per_char"] == pytest.approx(nats.mean() / math.log(2), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    assert found["saturations"] == 0 or engine == "golden"


def test_a_text_too_short_to_score_is_refused(letters: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a☃")
    assert "too few to be scored" in failure("eval", letters, "--text", path, "--engine", "golden")


def test_a_perplexity_beyond_all_numbers_is_null(
    letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abc")
    sure = np.where(np.arange(len(SYMBOLS) + 1) == 0, np.float32(1000), np.float32(0))
    monkeypatch.setattr(FloatEngine, "logits", lambda self, ids: (np.tile(sure, (len(ids), 1)), None))
    found = json.loads(run("eval", letters, "--text", path, "--engine", "float", "--json").stdout)
    assert found["bits_per_char"] == pytest.approx(1000 / math.log(2))
    assert found["perplexity"] is None


def test_logits_that_are_not_finite_are_not_scored(
    letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abc")
    nothing = np.full(len(SYMBOLS) + 1, np.nan, np.float32)
    monkeypatch.setattr(FloatEngine, "logits", lambda self, ids: (np.tile(nothing, (len(ids), 1)), None))
    message = failure("eval", letters, "--text", path, "--engine", "float")
    assert message == "the text cannot be scored: the model's logits are not finite"


def test_a_text_must_be_utf_8(letters: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"abc\xff")
    message = failure("eval", letters, "--text", path, "--engine", "golden")
    assert message == f"{path} is not UTF-8: byte 3 fits no character"


# pack, inspect ----------------------------------------------------------------------------------------------


def test_an_image_stands_for_its_checkpoint(letters: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    assert run("pack", letters, "-o", image, "--accel", "up5k").exit_code == 0
    command = ["--prompt", "one day", "--max-new", 30, "--engine", "golden", "--temperature", 1]
    assert run("generate", image, *command).stdout == run("generate", letters, *command).stdout
    checkpoint, packed = (json.loads(run("inspect", each, "--json").stdout) for each in (letters, image))
    assert (checkpoint.pop("kind"), packed.pop("kind")) == ("checkpoint", "image")
    assert packed.pop("digest") == Image(image).digest
    assert checkpoint | {"model": str(image)} == packed


def test_the_float_engine_refuses_an_image(letters: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    assert run("pack", letters, "-o", image).exit_code == 0
    message = failure("generate", image, "--prompt", "a", "--max-new", 1, "--engine", "float")
    assert "is an image, which holds integers alone" in message


def test_the_default_accelerator_is_named(letters: Path, tmp_path: Path) -> None:
    result = run("pack", letters, "-o", tmp_path / "image")
    assert "accelerator: up5k (the smallest preset that holds the model)\n" in result.stderr


def test_an_accelerator_that_is_too_small_is_refused_with_the_numbers(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_model(hidden_size=300)
    message = failure("pack", model, "-o", tmp_path / "image", "--accel", "up5k")
    assert "hidden size 300 of at most 256" in message


def test_an_unknown_accelerator_is_refused_with_the_known_ones(letters: Path, tmp_path: Path) -> None:
    message = failure("pack", letters, "-o", tmp_path / "image", "--accel", "nonsense")
    assert "nonsense" in message
    assert "up5k" in message


def test_inspect_prints_the_configuration_and_the_sizes(letters: Path) -> None:
    text = run("inspect", letters).stdout
    assert "hidden_size           24\n" in text
    assert "weights" in text
    assert "float16 transformer with a KV cache of 8192 tokens" in text


def test_inspect_shows_a_model_that_no_preset_holds(make_model: Callable[..., Path]) -> None:
    directory = make_model(vocab_size=70_000)
    result = run("inspect", directory, "--json")
    assert json.loads(result.stdout)["vocab_size"] == 70_000
    assert "vocabulary 70,000 of at most 65,535; sizes are those in the layout of large" in result.stderr
    assert "does not fit the accelerator up5k" in failure("inspect", directory, "--accel", "up5k")


# synth-checkpoint, train, zoo, doctor -----------------------------------------------------------------------


def test_synth_checkpoint_writes_a_checkpoint_of_the_wanted_size(tmp_path: Path) -> None:
    out = tmp_path / "model"
    sizes = ["--hidden-size", 30, "--num-hidden-layers", 2, "--vocab-size", 41, "--num-heads", 3]
    assert run("synth-checkpoint", "-o", out, *sizes, "--no-lower-bound", "--dtype", "float16").exit_code == 0
    config = Checkpoint(out).config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size, config.num_heads) == (
        30,
        2,
        41,
        3,
    )
    # Upstream's rule: 256 * ceil(int(30 * 4 * 2 / 3) / 256).
    assert config.intermediate_size == 256
    assert not config.use_lower_bound
    assert "already holds a checkpoint" in failure("synth-checkpoint", "-o", out, *sizes)


def test_synth_checkpoint_names_the_presets(tmp_path: Path) -> None:
    message = failure("synth-checkpoint", "--preset", "7b", "-o", tmp_path / "model")
    assert "370m, 1.3b, 2.7b" in message


def test_synth_checkpoint_changes_a_preset(tmp_path: Path) -> None:
    command = ["synth-checkpoint", "--preset", "370M", "--num-hidden-layers", 1, "--vocab-size", 2]
    assert run(*command, "-o", tmp_path / "model").exit_code == 0
    config = Checkpoint(tmp_path / "model").config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (1024, 1, 2)
    assert config.eos_token_id is None


def test_training_without_torch_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cards", "training", "torch_model"):
        monkeypatch.delitem(sys.modules, f"tritforge.models.{name}", raising=False)
        monkeypatch.delattr(f"tritforge.models.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "text.txt").write_text("text")
    message = failure("train", "--text", tmp_path / "text.txt", "-o", tmp_path / "out")
    assert 'pip install "tritforge[train]"' in message


def test_the_zoo_lists_its_models_and_shows_their_cards() -> None:
    cards = json.loads(run("zoo", "--json").stdout)
    listed = run("zoo").stdout
    for name in cards:
        assert name in listed
        assert f"# {name}" in run("zoo", name).stdout
        assert json.loads(run("zoo", name, "--json").stdout) == cards[name]
    assert "there is no zoo model 'nonsense'" in failure("zoo", "nonsense")


def test_the_doctor_says_what_is_lacking_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = json.loads(run("doctor", "--json").stdout)["checks"]
    (compiler,) = [check for check in found if check["name"] == "C++ compiler"]
    assert not compiler["ok"]
    text = run("doctor").stdout
    assert compiler["how_to_get"] in text
    assert compiler["needed_for"] in text


# Printing ---------------------------------------------------------------------------------------------------


def test_columns_are_as_wide_as_they_need_and_numbers_stand_right(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table([("a", "1,000"), ("long", "20")], ("name", "count"))
    assert capsys.readouterr().out == "name  count\na     1,000\nlong     20\n"


def test_no_bar_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")


def test_json_never_holds_what_json_lacks() -> None:
    with pytest.raises(ValueError, match="JSON"):
        console.print_json({"value": float("nan")})
