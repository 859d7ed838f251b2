"""Counters that can be loaded, in one logic cell a bit."""

from amaranth.hdl import Mux, Value

__all__ = ["loaded"]


def loaded(load: Value, value: Value, counter: Value) -> Value:
    """Return a counter's next value, or `value` where `load` is high.

    What `load` does to the sum does not matter then, and it saves the multiplexer: a cell of an iCE40 has
    inputs for a carry, two summands and one thing more.
    """
    bits = len(counter)
    return Mux(load, value, (counter + load.replicate(bits) + 1)[:bits])
