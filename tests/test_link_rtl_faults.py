"""What a bad cable does to a session with a board's own top level: it is recovered; no token is wrong."""

from __future__ import annotations

import pytest
from board_setup import BUILD, CONFIG
from link_faults import EVERY_KIND, WAYS, BadCable, Case, Fault, Kind, Way, small_image
from tritforge.sim.board import BoardSim

SHORT, MORE = 3000, 1500
"""Cycles in which a short request is answered, and those until the next one comes."""
STRIDE = 4
"""Each kind of fault comes at one byte of so many, and each byte has some kinds of them."""

pytestmark = pytest.mark.usefixtures("needs_compiler")


class Moments:
    """A simulated board that works for a moment at a time."""

    clock_hz = None
    busy = False

    def __init__(self) -> None:
        self.board = BoardSim(CONFIG, BUILD)

    def exchange(self, data: bytes) -> bytes:
        return self.board.exchange(data, SHORT) + self.board.exchange(b"", MORE)


@pytest.fixture(scope="module")
def case(needs_compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Case:
    image = small_image(tmp_path_factory.mktemp("models") / "small", CONFIG)
    return Case(Moments(), image, CONFIG, 2, timeout=0, attempts=30)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_fault_at_any_byte_is_recovered(kind: Kind, way: Way, case: Case) -> None:
    for position in range(EVERY_KIND.index(kind) % STRIDE, case.count[way], STRIDE):
        cable = BadCable(case.device, Fault(way, position, kind, 1 + position % 255))
        assert case.session(cable) == case.expected, position
