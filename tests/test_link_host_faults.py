"""What a bad cable does to a session: it is recovered, or told in one sentence; a token is never wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_faults import EVERY_KIND, WAYS, BadCable, Case, Fault, Kind, Way, small_image
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.link.device import GoldenDevice
from tritforge.host.link.driver import Board
from tritforge.host.link.payloads import memory_bytes, program_bytes
from tritforge.host.link.transport import InProcess
from tritforge.models.errors import TritforgeError
from tritforge.models.golden import GoldenModel
from tritforge.models.image import Image

CONFIG = replace(AcceleratorConfig.load("up5k"), memory_beats=1024)
AT_ONCE = {"timeout": 0, "patience": 0.5}
"""How long a host waits for a device in Python."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return small_image(tmp_path_factory.mktemp("models") / "small", CONFIG)


def opened(transport: Any) -> Board:
    """A board that is asked again at once."""
    board = Board(transport, **AT_ONCE)
    board.open(CONFIG)
    return board


@pytest.fixture(scope="module")
def case(image: Image) -> Iterator[Case]:
    """The case; its model remembers what it has computed, since thousands of sessions ask for the same."""
    forward, known = GoldenModel.forward, {}

    def remembered(self: GoldenModel, tokens: Any, state: Any) -> Any:
        key = id(self.model), tokens.tobytes(), state.tobytes()
        if key not in known:
            known[key] = forward(self, tokens, state), self.model  # so that its id stays its own
        return known[key][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GoldenModel, "forward", remembered)
        yield Case(GoldenDevice(CONFIG), image, CONFIG, 5, **AT_ONCE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_fault_at_any_byte_is_recovered(kind: Kind, way: Way, case: Case) -> None:
    for position in range(case.count[way]):
        cable = BadCable(case.device, Fault(way, position, kind, 1 + position % 255))
        assert case.session(cable) == case.expected, position


@pytest.mark.parametrize("value", [0x01, 0x20, 0x7E ^ 0x7D, 0x80, 0xFF])
@pytest.mark.parametrize("way", WAYS)
def test_a_changed_byte_is_found_whatever_its_bits(way: Way, value: int, case: Case) -> None:
    for position in range(0, case.count[way], 3):
        assert case.session(BadCable(case.device, Fault(way, position, "changed", value))) == case.expected


@given(data=st.data())
@settings(max_examples=300, derandomize=True)  # a CRC of 16 bits lets one of 65,536 through
def test_many_faults_end_in_recovery_or_one_sentence(data: st.DataObject, case: Case) -> None:
    faults = data.draw(
        st.lists(
            st.builds(
                Fault,
                st.sampled_from(WAYS),
                st.integers(0, 2 * case.count["there"]),
                st.sampled_from([*EVERY_KIND, "pulled"]),
                st.integers(1, 255),
            ),
            max_size=40,
        )
    )
    try:
        found = case.session(BadCable(case.device, *faults))
    except TritforgeError as error:
        assert "\n" not in str(error)
    else:
        assert found == case.expected


def test_a_cable_pulled_at_any_byte_is_told(case: Case) -> None:
    for way in WAYS:
        # How many bytes a session takes depends by a few on its numbers, which may have to be escaped.
        for position in range(0, case.count[way] - 20, 3):
            with pytest.raises(TritforgeError, match=r"^the cable was pulled$|does not answer"):
                case.session(BadCable(case.device, Fault(way, position, "pulled")))


class Restarting:
    """A device that loses its power, and what was loaded, before an exchange."""

    clock_hz = None
    busy = False

    def __init__(self, device: Any, exchanges: int) -> None:
        self._device, self._left = device, exchanges

    def exchange(self, data: bytes) -> bytes:
        self._left -= 1
        if not self._left:
            self._device = GoldenDevice(CONFIG)
        return bytes(self._device.exchange(data))


def test_a_device_that_loses_its_power_is_never_taken_for_the_one_before(case: Case) -> None:
    # Whenever it is, the session says so, or is over.
    said = []
    for exchanges in range(2, 30):
        try:
            assert case.session(BadCable(Restarting(case.device, exchanges))) == case.expected
        except TritforgeError as error:
            said.append(str(error).partition(":")[0])
    assert len(said) > 10
    assert set(said) == {"the device on the bad cable has begun anew, since it lost its power or was reset"}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_fault_during_a_load_is_recovered(kind: Kind, image: Image) -> None:
    memory, program = memory_bytes(image), program_bytes(image, CONFIG)
    device = GoldenDevice(CONFIG)
    probe = BadCable(device)
    opened(probe).load(memory)
    for way in WAYS:
        for position in range(1, probe.count[way], 41):
            opened(InProcess(device)).load(bytes(len(memory)))
            board = opened(BadCable(device, Fault(way, position, kind, 1 + position % 255)))
            board.load(memory)
            board.write_program(program)
            assert opened(InProcess(device)).link.read(1, 0, len(memory)) == memory


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_load_is_resumed(way: Way) -> None:
    memory = bytes(range(256)) * 32
    device = GoldenDevice(CONFIG)
    probe = BadCable(GoldenDevice(CONFIG))
    board = opened(probe)
    before = probe.count[way]
    assert board.load(memory).written == len(memory)
    half = (before + probe.count[way]) // 2
    with pytest.raises(TritforgeError, match=r"^the cable was pulled$|does not answer"):
        opened(BadCable(device, Fault(way, half, "pulled"))).load(memory)
    cable = BadCable(device)
    loaded = opened(cable).load(memory)
    assert loaded.written + loaded.kept == len(memory)
    assert 0 < loaded.written <= 0.75 * len(memory)
    assert opened(cable).load(memory).written == 0
    assert opened(cable).link.read(1, 0, len(memory)) == memory
