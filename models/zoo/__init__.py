"""The models that come with tritforge: one checkpoint directory each, with its model card."""

from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import TritforgeError

__all__ = ["card", "names", "path"]

_HERE = Path(__file__).parent
CARD = "card.json"


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(found.parent.name for found in _HERE.glob(f"*/{CARD}"))


def path(name: str) -> Path:
    """Return the checkpoint directory of a shipped model.

    Raises
    ------
    TritforgeError
        If no model of this name is shipped.
    """
    if name not in names():
        raise TritforgeError(f"there is no zoo model {name!r}; choose one of {', '.join(names())}")
    return _HERE / name


def card(name: str) -> dict[str, Any]:
    """Return the numbers of a shipped model's card.

    Raises
    ------
    TritforgeError
        If no model of this name is shipped.
    """
    return read_json(path(name) / CARD)
