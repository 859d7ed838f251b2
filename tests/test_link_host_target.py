"""Which board is meant: by name, or by the manifest beside a bitstream."""

import json
from pathlib import Path
from typing import Any

import pytest
from tritforge.hdl.boards.up5k import BOARDS
from tritforge.hdl.config import AcceleratorConfig
from tritforge.host.link.target import Target, opened_board, simulated_device
from tritforge.models.errors import TritforgeError

CONFIG = AcceleratorConfig.load("up5k")
VALUES: dict[str, Any] = {
    "board": "icebreaker",
    "accelerator": CONFIG.to_dict(),
    "clock_hz": 24_000_000,
    "baud": 115_200,
    "build": "0123456789abcdef",
    "anything": "else",
}


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "manifest.json"
    values = {key: value for key, value in {**VALUES, **changes}.items() if value != "missing"}
    path.write_text(json.dumps(values))
    return path


def test_a_manifest_tells_everything(tmp_path: Path) -> None:
    target = Target.from_manifest(written(tmp_path))
    assert target == Target("icebreaker", CONFIG, 24e6, 115_200, "0123456789abcdef")


def test_a_board_has_its_usual_clock_and_rate() -> None:
    board = BOARDS["icebreaker"]
    assert Target.of_board("icebreaker", "up5k") == Target("icebreaker", CONFIG, board.clock_hz, board.baud)


@pytest.mark.parametrize("key", ["board", "accelerator", "clock_hz", "baud", "build"])
@pytest.mark.parametrize("value", [None, [], True, "missing", {"name": 3}])
def test_a_manifest_with_a_wrong_value_is_refused_by_name(key: str, value: Any, tmp_path: Path) -> None:
    path = written(tmp_path, **{key: value})
    with pytest.raises(TritforgeError, match=rf"^{path} is no board's manifest: ") as caught:
        Target.from_manifest(path)
    assert "\n" not in str(caught.value)


def test_an_accelerator_out_of_range_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, accelerator={**CONFIG.to_dict(), "hidden": 0})
    with pytest.raises(
        TritforgeError, match=r"is no board's manifest: accelerator up5k: hidden must be from 1"
    ):
        Target.from_manifest(path)


@pytest.mark.parametrize("engine", ["golden", "rtl"])
def test_a_board_that_is_not_known_is_refused(engine: str) -> None:
    with pytest.raises(TritforgeError, match=r"^there is no board nonsense: name one of icebreaker"):
        simulated_device(engine, Target("nonsense", CONFIG))


def test_a_simulated_board_is_of_the_manifest_s_build(tmp_path: Path) -> None:
    with opened_board(Target.from_manifest(written(tmp_path)), None, "golden") as (_, identity):
        assert identity.build == "0123456789abcdef"


@pytest.mark.parametrize("build", ["xyz", "0123", ""])
def test_a_build_is_eight_bytes(build: str, tmp_path: Path) -> None:
    with pytest.raises(TritforgeError, match=r"is no board's manifest: its build is"):
        Target.from_manifest(written(tmp_path, build=build))
