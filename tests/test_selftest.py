"""``tritforge selftest``: what it finds of boards that are well, and of those that are not."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.cli import cli
from tritforge.host.link import device
from tritforge.host.link.frames import Request
from tritforge.models.golden import GoldenModel


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["selftest", "--model", "micro", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


NAMES = (
    "identity", "link", "weight memory", "state memory", "greedy tokens", "sampled tokens", "states",
    "logits", "stop", "halt", "cycles", "speed",
)  # fmt: skip


def rows(result: Result) -> list[list[str]]:
    """Each check's name, how it went, and what was found."""
    return [re.split(r"\s{2,}", line, maxsplit=2) for line in result.stdout.splitlines()[2:-1]]


def test_a_good_board_is_well() -> None:
    result = run("--sim", "golden")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "tritforge selftest of icebreaker (up5k) on the simulated board (golden), model micro"
    assert [(name, how) for name, how, _ in rows(result)] == [(name, "ok") for name in NAMES]
    assert lines[-1] == "all is well"


def test_the_same_for_programs() -> None:
    result = run("--sim", "golden", "--json")
    found = json.loads(result.stdout)
    assert found["ok"] is True
    assert tuple(found["findings"]) == NAMES
    assert found["config"] == AcceleratorConfig.load("up5k").digest()[:16]
    assert found["findings"]["weight memory"]["kept"] == 0
    assert found["findings"]["speed"]["device_tokens_per_second"] is None
    assert found["findings"]["speed"]["host_tokens_per_second"] > 0


def test_the_board_s_own_top_level_is_well_and_its_cycles_are_counted(needs_compiler: None) -> None:
    result = run("--sim", "rtl", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["port"] == "the simulated board (rtl)"
    assert {name: each["ok"] for name, each in found["findings"].items()} == dict.fromkeys(NAMES, True)
    cycles, speed = found["findings"]["cycles"], found["findings"]["speed"]
    assert sum(cycles["causes"].values()) == pytest.approx(cycles["cycles_per_token"], rel=1e-3)
    rate = speed["clock_hz"] / cycles["cycles_per_token"]
    assert speed["device_tokens_per_second"] == pytest.approx(rate, rel=1e-3)


def failed(result: Result) -> set[str]:
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "something is wrong"
    return {name for name, how, _ in rows(result) if how == "FAILED"}


def test_a_wrong_logit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(GoldenModel):
        def forward(self, *arguments: Any, **named: Any) -> Any:
            logits, state = super().forward(*arguments, **named)
            logits.sums[:, -1] += 1
            return logits, state

    monkeypatch.setattr(device, "GoldenModel", Wrong)
    assert "logits" in failed(run("--sim", "golden"))


def test_a_wrong_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(GoldenModel):
        def forward(self, *arguments: Any, **named: Any) -> Any:
            logits, state = super().forward(*arguments, **named)
            state[-1, -1] ^= 1
            return logits, state

    monkeypatch.setattr(device, "GoldenModel", Wrong)
    assert "states" in failed(run("--sim", "golden"))


def test_a_weight_memory_with_a_fault_ends_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    write = device.GoldenDevice._write

    def stuck(self: device.GoldenDevice, request: Request) -> None:
        write(self, request)
        self._weights[1000] = 0x5A5A

    monkeypatch.setattr(device.GoldenDevice, "_write", stuck)
    result = run("--sim", "golden")
    assert failed(result) == {"weight memory"}
    assert "greedy" not in result.stdout


def test_a_device_must_be_named_once() -> None:
    for arguments in ([], ["--sim", "--port", "/dev/null"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Name the board's port with --port, or simulate a board with --sim." in result.stderr
