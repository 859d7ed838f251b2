"""The doctor says what the machine lacks, for what, and how to get it."""

import platform
from pathlib import Path

import pytest
from tritforge.host import doctor
from tritforge.host.doctor import Check, checks


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "not" / "yet" / "there"))
    monkeypatch.delenv("CXX", raising=False)


def check(name: str) -> Check:
    return next(check for check in checks() if check.name == name)


def test_every_check_says_what_for_and_how() -> None:
    found = checks()
    assert [check.name for check in found] == [
        "Python", "platform", "C++ compiler", "make", "perl", "cache folder", "serial port"
    ]
    for each in found:
        assert each.found
        assert each.needed_for
        assert each.how_to_get


def test_this_machine_can_run_the_tests() -> None:
    needed = ("Python", "platform", "C++ compiler", "make", "perl")
    assert [each for each in checks() if each.name in needed and not each.ok] == []


def test_looking_changes_nothing(tmp_path: Path) -> None:
    checks()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["C++ compiler", "make", "perl"])
def test_a_missing_program_is_told_with_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    missing = check(name)
    assert not missing.ok
    assert f"apt install {name.replace('C++ compiler', 'g++')}" in missing.how_to_get


def test_a_compiler_that_cannot_compile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g++").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check("C++ compiler")
    assert (found.ok, found.found) == (False, "it can't compile C++17")


def test_a_platform_without_the_tools_is_told_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    found = check("platform")
    assert (found.ok, found.found) == (False, "Linux on aarch64")
    assert found.how_to_get == "use Linux on x86-64 or macOS on Apple silicon"


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "file" / "cache"))
    found = check("cache folder")
    assert not found.ok
    assert "can't be written" in found.found


def test_too_little_room_for_the_cache_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": (1 << 30) - 1}))
    assert not check("cache folder").ok
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 30}))
    assert check("cache folder").ok


@pytest.mark.parametrize(("right", "found"), [(True, "ttyUSB0"), (False, "no right to open ")])
def test_a_plugged_in_board_is_tried(
    right: bool, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ttyUSB0").touch()
    monkeypatch.setattr(doctor, "_DEVICES", tmp_path)
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: right)
    port = check("serial port")
    assert port.ok == right
    assert found in port.found


@pytest.mark.parametrize("member", [True, False])
def test_without_a_board_the_group_decides(
    member: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_DEVICES", tmp_path)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor.os, "getgroups", lambda: [1000, 20] if member else [1000])
    monkeypatch.setattr("grp.getgrnam", lambda name: type("Group", (), {"gr_gid": 20}))
    port = check("serial port")
    assert port.ok == member
    assert "dialout" in port.how_to_get
