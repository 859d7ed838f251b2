"""A board, simulated from its link's bytes inward, tells the golden model's tokens and states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from link_host import (
    CHECK,
    CHOOSE,
    IDLE,
    POSITION,
    PROGRAM,
    READ,
    REFUSED,
    RING,
    SETTINGS,
    STATE,
    TOKENS,
    WEIGHTS,
    WRITE,
    Host,
)
from tritforge.hdl.compiler import compile_program
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.link.settings import SETTINGS as SETTINGS_LAYOUT
from tritforge.models.checkpoint import Checkpoint
from tritforge.models.image import in_memory_image
from tritforge.models.numerics import to_scale
from tritforge.models.quantise import IntegerModel, quantise
from tritforge.models.software import GoldenEngine
from tritforge.sim.board import BoardSim

CONFIG = AcceleratorConfig.load("up5k")
BUILD = bytes.fromhex("0123456789abcdef")

pytestmark = pytest.mark.usefixtures("needs_compiler")


def settings(**fields: object) -> bytes:
    packed = int(SETTINGS_LAYOUT.const({"cause": 0x1F, **fields}).as_value().value)
    return packed.to_bytes(12, "little")


class Device(Host):
    """A board with a model."""

    def __init__(self, model: IntegerModel) -> None:
        self.board = BoardSim(CONFIG, BUILD)
        super().__init__(self.board.exchange)
        self.model = model
        self.taken = 0
        self.open()
        image = in_memory_image(model, CONFIG.layout)
        self.memory = image.memory.tobytes()
        program = compile_program(model.config, CONFIG, shared_inputs=image.shared_inputs)
        self.write(WEIGHTS, self.memory)
        self.write(PROGRAM, np.array(program.words(), "<u2").tobytes())

    def begin(self, **fields: object) -> None:
        self.open()
        self.taken = 0
        self.write(SETTINGS, settings(**fields))
        self.ask(WRITE | POSITION, 0, b"\0\0")

    def choose(self, token: int, count: int) -> None:
        while self.ask(WRITE | CHOOSE, count, token.to_bytes(2, "little")).status & REFUSED:
            pass

    def words(self, count: int) -> list[int]:
        """The next words of the ring."""
        found: list[int] = []
        for _ in range(1000):
            answer = self.ask(READ | RING, self.taken % 256, count=min(2 * (count - len(found)), 120))
            there = min((answer.produced - self.taken) % 256, len(answer.data) // 2)
            found += np.frombuffer(answer.data, "<u2")[:there].tolist()
            self.taken += there
            if len(found) == count:
                return found
            self.exchange(b"")
        raise AssertionError(f"only {len(found)} words of {count}")

    def states(self) -> np.ndarray:
        config = self.model.config
        while not self.ask(READ | RING, self.taken % 256, count=0).status & IDLE:
            self.exchange(b"")
        data = self.read(STATE, 2 * config.num_hidden_layers * config.hidden_size)
        return np.frombuffer(data, "<i2").reshape(config.num_hidden_layers, -1)


@pytest.fixture(scope="module")
def device(model_a: Path) -> Device:
    return Device(quantise(Checkpoint(model_a)))


@pytest.fixture
def golden(device: Device) -> GoldenEngine:
    return GoldenEngine(device.model)


def test_the_board_says_which_it_is(device: Device) -> None:
    assert device.open() == bytes([1, 0]) + BUILD + bytes.fromhex(CONFIG.digest())[:8]


def test_memory_holds_what_was_loaded(device: Device) -> None:
    assert device.read(WEIGHTS, 4096, 256) == device.memory[512 : 512 + 4096]
    whole = device.memory[: len(device.memory) // 256 * 256]
    for start in range(0, len(whole), 127 * 256):
        part = whole[start : start + 127 * 256]
        device.ask(CHECK | WEIGHTS, start // 2, count=len(part) // 256, covered=part)


@pytest.mark.parametrize("temperature", [None, 0.8])
def test_tokens_and_states_are_the_golden_model_s(
    device: Device, golden: GoldenEngine, temperature: float | None
) -> None:
    prompt, count = [7, 250, 3, 99, 128], 12
    fields = {}
    if temperature is not None:
        mantissa, exponent = to_scale(1 / temperature)
        fields = {
            "sample": 1,
            "temperature_mantissa": mantissa,
            "temperature_exponent": exponent,
            "seed": 9,
        }
    wanted = list(golden.generate(prompt, count, temperature=temperature, seed=9))
    device.begin(**fields)
    device.write(TOKENS, np.array(prompt[:-1], "<u2").tobytes())
    device.choose(prompt[-1], count)
    found = device.words(count)
    assert [word & 0x7FFF for word in found] == wanted
    assert [word >> 15 for word in found] == [0] * (count - 1) + [1]
    assert (device.states() == golden.state().h).all()
