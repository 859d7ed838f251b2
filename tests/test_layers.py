"""Dependencies point one way: models <- hdl <- sim <- host, and nothing imports the public door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["models", "hdl", "sim", "host"]
FILES = sorted(file.relative_to(ROOT) for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))


def imports(file: Path) -> list[tuple[str, ...]]:
    """What a module imports of this package, as paths below its root."""
    found = []
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found += [tuple(name[1:]) for name in names if name[0] == "tritforge"]
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = file.parent.parts[: len(file.parent.parts) - node.level + 1]
                found += [(*base, *module, alias.name) for alias in node.names]
            elif module[0] == "tritforge":
                found += [(*module[1:], alias.name) for alias in node.names]
    return found


def test_every_layer_has_modules() -> None:
    assert {file.parts[0] for file in FILES} == set(LAYERS)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_imports_only_its_own_layer_and_those_below(file: Path) -> None:
    allowed = LAYERS[: LAYERS.index(file.parts[0]) + 1]
    wrong = [".".join(path) for path in imports(file) if path[:1] == () or path[0] not in allowed]
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=str)
def test_inside_the_package_imports_are_relative(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [node.module or "" for node in froms if not node.level]
    assert not [name for name in names if name.split(".")[0] in ("tritforge", *LAYERS)]


def test_the_public_door_imports_nothing_of_the_package() -> None:
    assert imports(Path("__init__.py")) == []


def test_only_sim_tools_starts_the_tools() -> None:
    starters = {
        str(file) for file in FILES if file.parts[0] in ("hdl", "sim")
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Import) and "subprocess" in [alias.name for alias in node.names]
    }
    assert starters == {"sim/tools.py"}
