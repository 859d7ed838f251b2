"""``tritforge chat``: stories without a terminal, and with one."""

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_line import COMMAND
from tritforge.hdl.link.protocol import Space
from tritforge.host.cli import cli
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.frames import Request
from tritforge.models.loading import load
from tritforge.models.software import GoldenEngine

SIM = ["chat", "--sim", "golden", "--model", "micro"]


def run(*arguments: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(cli, [*SIM, *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def story(beginning: str, count: int, **sampling: float) -> str:
    """What the golden model writes."""
    model = load("micro")
    assert model.tokenizer is not None
    tokens = [
        *GoldenEngine(model.integers).generate(model.encode(beginning), count, stop=model.stop, **sampling)
    ]
    return beginning + model.tokenizer.decode(tokens) + "\n"


def test_each_line_is_continued_with_a_seed_of_its_own() -> None:
    result = run("--max-new", "20", "--seed", "5", stdin="ROMEO\nTo be\n")
    assert result.exit_code == 0
    assert result.stdout == story("ROMEO", 20, temperature=0.6, seed=5) + story(
        "To be", 20, temperature=0.6, seed=6
    )
    assert "\x1b" not in result.stdout


def test_an_empty_line_goes_on_with_the_story() -> None:
    result = run("--max-new", "10", "--temperature", "0", stdin="ROMEO\n\n")
    assert result.stdout.replace("\n", "") == story("ROMEO", 20).replace("\n", "")


def test_ctrl_c_while_a_long_beginning_is_read_stops_the_story_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, requests = GoldenDevice._write, iter(range(10**6))

    def interrupted(self: GoldenDevice, request: Request) -> None:
        write(self, request)
        if request.space == Space.TOKENS and next(requests) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(GoldenDevice, "_write", interrupted)
    beginning = "To be, or not to be: " * 10
    result = run("--max-new", "20", "--seed", "5", stdin=f"{beginning}\nROMEO\n")
    assert result.exit_code == 0
    assert result.stdout == beginning + "\n" + story("ROMEO", 20, temperature=0.6, seed=6)
    stopped = f"stopped in the beginning, after 32 of {len(beginning)} tokens"
    assert stopped in result.stderr.splitlines()


def test_both_speeds_are_told_apart() -> None:
    result = run("--max-new", "5", stdin="A\n")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("5 tokens; device: no cycles counted; seen over the simulated board (golden): ")
    assert last.endswith(" tokens/s")


def test_counters_are_shown_and_quit_ends() -> None:
    result = run("--max-new", "5", stdin="A\n/counters\n/what\n/quit\nB\n")
    rows = dict(line.rsplit(None, 1) for line in result.stdout.splitlines()[-9:] if "  " in line)
    assert rows["tokens of the last run"] == "5"
    assert rows["requests repeated"] == "0"
    assert int(rows["bytes sent"].replace(",", "")) > 19_712
    assert "there is no /what; /help lists what there is" in result.stderr
    assert "B" not in result.stdout.splitlines()[-1]


def test_a_character_that_the_model_lacks_ends_it_without_a_terminal() -> None:
    result = run(stdin="\N{SNOWMAN}\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: character '\N{SNOWMAN}' (U+2603) at position 0")


def test_a_model_without_a_tokenizer_cannot_write() -> None:
    path = Path(__file__).parent / "vectors" / "A"
    result = CliRunner().invoke(cli, ["chat", "--sim", "golden", "--model", str(path)])
    assert result.exit_code == 1
    assert result.stderr == f"error: {path} has no tokenizer, so it cannot write\n"


def test_a_port_that_is_not_there_is_told() -> None:
    result = CliRunner().invoke(cli, ["chat", "--port", "/dev/there-is-none", "--model", "micro"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: /dev/there-is-none cannot be opened: ")


class Terminal:
    """A person before a chat."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *SIM, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, seconds: float = 40) -> None:
        """Read until there is a text behind what was waited for before."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} is not in {self.seen!r}"
            if select.select([self._ours], [], [], 0.2)[0]:
                self.seen += os.read(self._ours, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    person = Terminal("--max-new", "60000")
    yield person
    person.process.kill()
    person.process.wait()


def test_ctrl_c_stops_a_story_and_another_one_ends_the_chat(terminal: Terminal) -> None:
    terminal.wait_for("> ")
    terminal.type("ROMEO\n")
    terminal.wait_for("ROMEO")  # what is typed
    terminal.wait_for("ROMEO")  # the story's beginning
    terminal.wait_for("\n")
    terminal.interrupt()
    terminal.wait_for(" tokens; device: ")
    terminal.wait_for("> ")
    terminal.type("/counters\n")
    terminal.wait_for("damaged frames")
    terminal.wait_for("> ")
    time.sleep(1)  # readline is deaf for a moment behind its prompt
    terminal.interrupt()
    assert terminal.process.wait(20) == 0


def test_ctrl_c_is_heard_as_soon_as_a_story_begins(terminal: Terminal) -> None:
    terminal.wait_for("> ")
    for _ in range(5):
        terminal.type("ROMEO\n")
        terminal.wait_for("ROMEO")
        terminal.wait_for("ROMEO")
        terminal.interrupt()
        terminal.wait_for("\n> ")
    terminal.type("/quit\n")
    assert terminal.process.wait(20) == 0


def test_a_mistake_at_a_terminal_is_told_and_the_chat_goes_on(terminal: Terminal) -> None:
    terminal.wait_for("> ")
    terminal.type("\N{SNOWMAN}\n")
    terminal.wait_for("error: character")
    terminal.wait_for("> ")
    terminal.type("/quit\n")
    assert terminal.process.wait(20) == 0
