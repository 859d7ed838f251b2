"""The wheel works away from the clone, and takes one name of the world's."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import tritforge

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that nothing left in build/ slips in."""
    source = tmp_path_factory.mktemp("wheel") / "a folder"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", source.parent, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(source.parent.glob("*.whl"))


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_only_top_level_name_is_tritforge(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"tritforge", f"tritforge-{tritforge.__version__}.dist-info"}


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    wanted = {"__init__.py", "py.typed"}
    for layer in ("models", "hdl", "sim", "host"):
        wanted |= {str(file.relative_to(ROOT)) for file in (ROOT / layer).rglob("*.py")}
    for pattern in ("models/zoo/**/*", "hdl/**/*.toml", "sim/*.cpp", "sim/templates/*.v", "sim/*.h"):
        wanted |= {str(file.relative_to(ROOT)) for file in ROOT.glob(pattern) if file.is_file()}
    assert {f"tritforge/{name}" for name in wanted if "__pycache__" not in name} <= names(wheel)


def test_tests_and_documents_stay_out_of_the_wheel(wheel: Path) -> None:
    inside = {name.split("/")[1] for name in names(wheel) if name.startswith("tritforge/")}
    assert inside <= {"__init__.py", "py.typed", "models", "hdl", "sim", "host"}


def test_the_wheel_is_installed_and_imported_away_from_the_clone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); "
        "from tritforge.sim import build; print(build.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(site / "tritforge" / "sim" / "build.py"), done.stderr
    assert (site / "bin" / "tritforge").exists()


def test_every_package_is_listed() -> None:
    folders = {
        file.parent.relative_to(ROOT) for layer in ("models", "hdl", "sim", "host")
        for file in (ROOT / layer).rglob("__init__.py")
    }
    wanted = {"tritforge", *(".".join(["tritforge", *folder.parts]) for folder in folders)}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == wanted


@pytest.mark.parametrize("name", [name for name in tritforge.__all__ if name != "__version__"])
def test_each_name_of_the_public_door_is_where_the_door_says(name: str) -> None:
    value = getattr(tritforge, name)
    assert value.__module__.startswith("tritforge.")
    assert name in dir(tritforge)


def test_the_public_door_refuses_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'tritforge' has no attribute 'nonsense'"):
        _ = tritforge.nonsense


def test_importing_the_door_loads_none_of_the_package() -> None:
    program = "import sys, tritforge; print([name for name in sys.modules if name.startswith('tritforge.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []
