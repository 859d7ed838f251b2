"""``tritforge serve-sim``: hosts talk to a simulated board over a pseudo-terminal and a socket."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import COMMAND
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.host.link.driver import Board
from tritforge.host.link.engine import BoardEngine
from tritforge.host.link.flashfile import story_frames
from tritforge.host.link.transport import Port
from tritforge.models.errors import TritforgeError
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine

CONFIG = AcceleratorConfig.load("up5k")


@contextmanager
def served(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A simulated board, and where it listens; ended as by Ctrl-C."""
    command = [*COMMAND, "serve-sim", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield line.rpartition(" ")[2].strip(), process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.mark.parametrize("how", [[], ["--pty"], ["--listen", "tcp:0"]])
def test_a_host_finds_a_board_there(how: list[str]) -> None:
    model = load("micro")
    with served("--engine", "golden", *how) as (url, process):
        assert url.startswith("socket://127.0.0.1:" if "--listen" in how else "/dev/")
        for already in (False, True):  # hosts come and go, and what they loaded stays
            board = Board(Port(url))
            board.open(CONFIG)
            engine = BoardEngine(board, model.image(CONFIG.layout), CONFIG)
            assert (engine.loaded.written == 0) == already
            assert [*engine.generate([1, 2], 5)] == [*GoldenEngine(model.integers).generate([1, 2], 5)]
            board.link.close()
    assert process.returncode == 0


def said(*arguments: str, stdin: str = "") -> str:
    """What a command says that succeeds with the model micro."""
    result = CliRunner().invoke(cli, [*arguments, "--model", "micro"], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("how", [[], ["--listen", "tcp:0"]])
def test_chat_and_selftest_talk_to_the_board_s_own_top_level(needs_compiler: None, how: list[str]) -> None:
    model = load("micro")
    assert model.tokenizer is not None
    story = [*GoldenEngine(model.integers).generate(model.encode("To be"), 9, temperature=0.6, seed=3)]
    with served(*how) as (url, process):
        told = said("chat", "--port", url, "--max-new", "9", "--seed", "3", stdin="To be\n")
        assert told == f"To be{model.tokenizer.decode(story)}\n"
        lines = said("selftest", "--port", url).splitlines()
        assert lines[0] == f"tritforge selftest of icebreaker (up5k) on {url}, model micro"
        assert any("0 bytes written and 19,712 there already" in line for line in lines)
        assert lines[-1] == "all is well"
    assert process.returncode == 0


def test_a_board_with_a_flash_tells_its_story_to_whoever_listens(tmp_path: Path) -> None:
    model = load("micro")
    file = tmp_path / "flash.bin"
    file.write_bytes(story_frames(model, CONFIG, new_tokens=40000, seed=1))
    with served("--engine", "golden", "--flash", str(file)) as (url, _):
        port = Port(url)
        text = b""
        while len(text) < 20:
            text += port.read()
        assert set(text.decode()) <= {*(model.symbols or ""), "\n"}
        board = Board(port)
        board.open(CONFIG)  # which ends the text
        assert BoardEngine(board, model.image(CONFIG.layout), CONFIG).loaded.written == 0


def failure(*arguments: str, code: int = 1) -> str:
    result = CliRunner().invoke(cli, ["serve-sim", *arguments])
    assert result.exit_code == code
    return result.stderr.splitlines()[-1]


def test_a_file_that_is_no_flash_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "flash.bin"
    file.write_bytes(b"\xff" * 100)
    assert failure("--engine", "golden", "--flash", str(file)).startswith("error: the flash's frames are not")


@pytest.mark.parametrize("where", ["7000", "udp:7000", "tcp:", "tcp:65536", "tcp:-1", "tcp:7000 "])
def test_a_place_to_listen_is_tcp_and_a_port(where: str) -> None:
    assert "is not tcp:PORT" in failure("--listen", where, code=2)


def test_one_place_to_listen_is_enough() -> None:
    assert "exclude each other" in failure("--listen", "tcp:0", "--pty", code=2)


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    assert failure("--engine", "golden", "--board", "nonsense").startswith(
        "error: there is no board nonsense: name one of icebreaker, "
    )


def test_a_port_that_is_taken_is_told() -> None:
    with served("--engine", "golden", "--listen", "tcp:0") as (url, _):
        port = url.rpartition(":")[2]
        assert failure("--engine", "golden", "--listen", f"tcp:{port}") == (
            f"error: port {port} cannot be listened on: Address already in use"
        )


# Ports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/dev/there-is-none", "socket://127.0.0.1:1", "nonsense://x", "socket://"])
def test_a_port_that_cannot_be_opened_is_told(url: str) -> None:
    with pytest.raises(TritforgeError, match=f"^{url} cannot be opened: ") as caught:
        Port(url)
    assert "\n" not in str(caught.value)


def test_a_device_that_goes_away_is_told() -> None:
    with served("--engine", "golden", "--listen", "tcp:0") as (url, process):
        board = Board(Port(url), timeout=0.1)
        board.open(CONFIG)
        process.send_signal(signal.SIGINT)
        process.wait(20)
        with pytest.raises(TritforgeError, match=f"^the device on {url} has gone: "):
            board.counter()


def test_what_comes_back_at_once_is_no_answer() -> None:
    with pytest.raises(TritforgeError, match=r"^the device on loop:// does not answer"):
        Board(Port("loop://"), timeout=0.01, attempts=3).open(CONFIG)
