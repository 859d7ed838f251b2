"""The whole accelerator's bench under cocotb."""

from amaranth.lib.wiring import Component

from .accelerator import BENCHES
from .cocotb_driver import SideBySide, cocotb_tests

__all__ = ["design"]


def design() -> Component:
    """Return the accelerator."""
    return SideBySide(BENCHES)


globals().update(cocotb_tests(BENCHES))
