"""The benches of `library` under cocotb."""

from amaranth.lib.wiring import Component

from .cocotb_driver import SideBySide, cocotb_tests
from .library import LIBRARY

__all__ = ["design"]


def design() -> Component:
    """Return the unit of every bench."""
    return SideBySide(LIBRARY.values())


globals().update(cocotb_tests(LIBRARY.values()))
