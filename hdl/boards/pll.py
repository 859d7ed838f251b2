"""The iCE40's PLL: which dividers make a clock out of another."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.errors import TritforgeError

__all__ = ["Pll"]

# Published: Lattice FPGA-DS-02008 (iCE40 UltraPlus data sheet), "sysCLOCK PLL Timing", in Hz.
_INPUT = (10e6, 133e6)
_OUTPUT = (16e6, 275e6)
_VCO = (533e6, 1066e6)
_PHASE_DETECTOR = (10e6, 133e6)
# Published: FPGA-TN-02052 (sysCLOCK PLL design and usage guide): highest frequency of the phase detector, and
# FILTER_RANGE.
_FILTERS = ((17e6, 1), (26e6, 2), (44e6, 3), (66e6, 4), (101e6, 5), (133e6, 6))


@dataclass(frozen=True)
class Pll:
    """Dividers of a PLL whose feedback is simple.

    Its output is the input's frequency times (divf + 1) / (divr + 1) / 2^divq.

    Parameters
    ----------
    divr, divf, divq, filter_range
        As the cell's parameters are called.
    """

    divr: int
    divf: int
    divq: int
    filter_range: int

    def output(self, hz: float) -> float:
        """Frequency made of an input's."""
        return hz * (self.divf + 1) / (self.divr + 1) / (1 << self.divq)

    @classmethod
    def make(cls, source: int, wanted: int) -> Pll:
        """The dividers that make exactly a frequency in Hz of another, with the fastest phase detector.

        Raises
        ------
        TritforgeError
            If there are none; it names the nearest frequency that can be made.
        """
        found = [
            cls(divr, divf, divq, next(filter_ for limit, filter_ in _FILTERS if detector <= limit))
            for divr in range(16)
            if _within(source, _INPUT) and _within(detector := source / (divr + 1), _PHASE_DETECTOR)
            for divf in range(128)
            if _within(vco := detector * (divf + 1), _VCO)
            for divq in range(1, 7)
            if _within(vco / (1 << divq), _OUTPUT)
        ]
        if not found:
            raise TritforgeError(
                f"the PLL can't make a clock of {source / 1e6:g} MHz: it takes 10 to 133 MHz"
            )
        best = min(found, key=lambda pll: (abs(pll.output(source) - wanted), pll.divr))
        if best.output(source) != wanted:
            raise TritforgeError(
                f"the PLL can't make {wanted / 1e6:g} MHz of {source / 1e6:g} MHz; the nearest that it can"
                f" make are {best.output(source) / 1e6:g} MHz"
            )
        return best


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
