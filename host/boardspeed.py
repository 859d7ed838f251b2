"""How fast a board is, simulated on its own top level: by itself, and as a host sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..hdl.boards.up5k import Board as Up5kBoard
from ..hdl.config import AcceleratorConfig
from ..hdl.link.protocol import Space
from ..models.config import read_json
from ..models.loading import Model
from ..sim.board import BoardSim, link_verilog
from ..sim.cache import cached
from .console import note, progress
from .link.driver import Board
from .link.engine import BoardEngine
from .link.flashfile import story_frames
from .link.payloads import memory_bytes, program_bytes, settings_bytes, words_bytes
from .link.transport import InProcess

__all__ = ["Speed", "board_speed"]

_FOUND = "speed.json"
_TOKENS = 60
_TEMPERATURE = 0.8
_PATIENCE = 100.0
"""Seconds in which a simulated board answers on a busy computer."""


@dataclass(frozen=True)
class Speed:
    """Cycles of a board's clock that a token of a generation takes: simulated.

    Parameters
    ----------
    device
        While nobody asks for the results.
    host
        From token to token at a host that asks without a pause, over a line of the board's baud rate. Neither
        USB nor the host's own time is in it.
    """

    device: float
    host: float

    def to_dict(self, clock_hz: float) -> Mapping[str, float]:
        """Return what reports hold: the device's cycles and speed, and the speed that a host sees."""
        return {
            "cycles_per_token": self.device,
            "tokens_per_second": clock_hz / self.device,
            "host_tokens_per_second": clock_hz / self.host,
        }


def board_speed(model: Model, config: AcceleratorConfig, about: Up5kBoard) -> Speed:
    """Simulate a generation on a board's own top level (cached); the same every time.

    Parameters
    ----------
    model
        What generates.
    config
        The board's accelerator.
    about
        The board, with the clock and the baud rate in question.

    Raises
    ------
    TritforgeError
        If the model does not fit, or there is no C++ compiler.
    """
    # Flash is read without waiting for the line; a model that tells no story is loaded over that.
    flash = b"" if model.symbols is None else story_frames(model, config)

    def build(folder: Path) -> None:
        note(f"simulating {model.name} on the board's top level")
        (folder / _FOUND).write_text(json.dumps(asdict(_simulated(model, config, about, flash))))

    image = model.image(config.layout)
    key: list[str | bytes] = [
        link_verilog(config), flash, memory_bytes(image), program_bytes(image, config), str(_opening(model)),
        str(about.clock_hz), str(about.baud), *_sources(),
    ]  # fmt: skip
    return Speed(**read_json(cached("speed", key, build) / _FOUND))


def _sources() -> Iterator[bytes]:
    """Yield what drives the simulation, at both ends of the link: it decides the host's speed."""
    here = Path(__file__)
    names = "board.py", "board.cpp", "boarddevice.py", "boarddevice.h"
    simulation = (here.parents[1] / "sim" / name for name in names)
    for file in [here, *simulation, *sorted(here.parent.glob("link/*.py"))]:
        yield file.read_bytes()


def _opening(model: Model) -> list[int]:
    return model.opening() if model.tokenizer is not None else [0]


def _simulated(model: Model, config: AcceleratorConfig, about: Up5kBoard, flash: bytes) -> Speed:
    device = BoardSim(config, board=about, flash=flash, paced=True)
    board = Board(InProcess(device), timeout=_PATIENCE)
    board.open(config)
    with progress(f"loading {model.name}") as report:
        engine = BoardEngine(board, model.image(config.layout), config, report)
    settings = settings_bytes(temperature=_TEMPERATURE)
    *prompt, last = _opening(model)

    def begin() -> None:
        engine.reset()
        board.write_settings(settings)
        board.consume(prompt)

    begin()
    before = board.counter()
    board.link.write(Space.CHOOSE, _TOKENS, words_bytes([last]))
    while device.busy:
        device.exchange(b"")
    cycles = board.counter() - before

    begin()
    # A request's number may take a byte more on the line, and the first one is random.
    while board.link.ask(Space.RING, 0, 0).number:
        pass
    with progress("tokens") as report:
        seen = []
        for _ in board.run(last, _TOKENS):
            seen.append(device.cycles)
            report(len(seen), _TOKENS)
    return Speed(cycles / _TOKENS, (seen[-1] - seen[0]) / (len(seen) - 1))
