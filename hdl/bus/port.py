"""The port between a bus and the registers behind it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..registers import ADDRESS_BITS, WORD_BITS

__all__ = ["RegisterPort"]


class RegisterPort(wiring.Signature):
    """Reads and writes of whole registers, seen from the bus.

    The answer to an access is there in the next cycle and stays until the access after. Two accesses are two
    cycles apart or more.

    Attributes
    ----------
    address : Out
        Of a word: bits 2 and up of the byte address.
    read, write : Out(1)
        An access, never both.
    write_data : Out
        What to write.
    read_data : In
        What was read.
    error : In(1)
        The access was refused, and has done nothing.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "address": Out(ADDRESS_BITS - 2),
                "read": Out(1),
                "write": Out(1),
                "write_data": Out(WORD_BITS),
                "read_data": In(WORD_BITS),
                "error": In(1),
            }
        )
