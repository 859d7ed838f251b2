"""The settings of a run, as the link writes them."""

from amaranth.hdl import signed, unsigned
from amaranth.lib.data import ArrayLayout, StructLayout

from ...models.numerics import EXPONENT_BITS, SCALE
from ..conductor import STOPS
from ..isa import COUNT_BITS

__all__ = ["CAUSE_BITS", "SETTINGS"]

CAUSE_BITS = 4
"""Bits of a cause's number in `CAUSES`; a bit above them means all causes."""

SETTINGS = StructLayout(
    {
        "stops": ArrayLayout(unsigned(COUNT_BITS), STOPS),
        "stops_enabled": unsigned(STOPS),
        "sample": unsigned(1),
        "emit_raw": unsigned(1),
        "temperature_mantissa": unsigned(SCALE.bits),
        "temperature_exponent": signed(EXPONENT_BITS),
        "seed": unsigned(32),
        "cause": unsigned(CAUSE_BITS + 1),
    }
)
"""As `settings_layout`, for one stream; then whose cycles are counted: a cause, or EVERY_CAUSE."""
