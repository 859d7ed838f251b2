"""Puts a unit between registers, so that it can be routed with two pins and its own paths alone are timed."""

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Harness"]


class Harness(wiring.Component):
    """A unit whose inputs are a shift register and whose outputs fold into one bit.

    Every input bit comes straight from a flip-flop and every output bit goes straight into one, so no path of
    the unit is shortened, lengthened or optimised away. Latency: none of its own that matters. Cost:
    `flip_flops` and `luts`, to be taken off what the whole takes.

    Parameters
    ----------
    unit
        The unit; its ports are the members of its signature.

    Attributes
    ----------
    serial_in : In(1)
        Shifts into the inputs; the bit of n cycles ago is now input bit n - 1, counted over all ports.
    serial_out : Out(1)
        Exclusive or of n output bits, counted over all ports: of bit k as it was n + 1 - k cycles ago.

    Raises
    ------
    ValueError
        If the unit has no input or no output.
    """

    def __init__(self, unit: wiring.Component) -> None:
        self._unit = unit
        flat = [(member.flow, value) for _, member, value in unit.signature.flatten(unit)]
        self._inputs = [value for flow, value in flat if flow == In]
        self._outputs = [value for flow, value in flat if flow == Out]
        if not self._inputs or not self._outputs:
            raise ValueError("a unit in a harness needs an input and an output")
        super().__init__({"serial_in": In(1), "serial_out": Out(1)})

    @property
    def flip_flops(self) -> int:
        """Flip-flops of the harness: one an input bit, two an output bit."""
        return len(Cat(*self._inputs)) + 2 * len(Cat(*self._outputs))

    @property
    def luts(self) -> int:
        """Lookup tables of the harness: one an output bit but the first."""
        return len(Cat(*self._outputs)) - 1

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        m.submodules.unit = self._unit
        inputs, outputs = Cat(*self._inputs), Cat(*self._outputs)
        given = Signal(len(inputs), reset_less=True)
        found = Signal(len(outputs), reset_less=True)
        folded = Signal(len(outputs), reset_less=True)
        m.d.sync += [
            given.eq(Cat(self.serial_in, given)),
            found.eq(outputs),
            folded.eq(found ^ Cat(C(0, 1), folded[:-1])),
        ]
        m.d.comb += [inputs.eq(given), self.serial_out.eq(folded[-1])]
        return m
