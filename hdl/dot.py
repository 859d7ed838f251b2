"""Ternary dot product by lookup: a packed byte of five weights addresses a table of the possible sums."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8
from ..models.trits import ENTRIES, TRITS_PER_BYTE

__all__ = ["ENTRY_BITS", "LookupDot", "TableFiller"]

ENTRY_BITS = 11
"""Bits of a table entry: five INT8 add up to at most 640."""

_INDEX_BITS = 7


class TableFiller(wiring.Component):
    """Walks the 122 entries of all tables at once, from all zero outwards (`models.trits.gray_steps`).

    Each entry is the one before plus or minus one activation, so one control and one word of activations (one
    for each table) a cycle fill every table. Latency: 3 cycles from `start` to the first write, 124 to
    `done`; start again from the cycle after `done`. Cost: an 11-bit adder a table.

    Parameters
    ----------
    tables
        Number of lookup tables.
    words
        Number of activation words, five a column block.

    Attributes
    ----------
    start : In(1)
        Begins a fill.
    block : In
        Column block whose activations are read; held until `done`.
    word_address : Out, word : In
        Activation memory's read port; its word comes in the cycle after the address. Word 5 b + j holds digit
        j of column block b: activation of column (5 b + j) * tables + t in its byte t.
    entry, values, write : Out
        The tables' write port: entry number, one value a table.
    done : Out(1)
        High in the cycle in which the last entry is written.
    """

    def __init__(self, tables: int, words: int) -> None:
        self._tables = tables
        super().__init__(
            {
                "start": In(1),
                "block": In(range(max(2, words // TRITS_PER_BYTE))),
                "word_address": Out(range(words)),
                "word": In(ArrayLayout(signed(INT8.bits), tables)),
                "entry": Out(_INDEX_BITS),
                "values": Out(ArrayLayout(signed(ENTRY_BITS), tables)),
                "write": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits = [Signal(2, name=f"digit{j}") for j in range(TRITS_PER_BYTE)]
        running = Signal()
        entry = Signal(_INDEX_BITS)

        # The digit that moves is the lowest that is not 2; it moves up if the digits above it have an even
        # sum.
        place = Signal(range(TRITS_PER_BYTE))
        up = Signal()
        for j in reversed(range(TRITS_PER_BYTE)):
            odd_above: Value = C(0, 1)
            for above in digits[j + 1 :]:
                odd_above = odd_above ^ above[0]
            with m.If(digits[j] != 2):
                m.d.comb += [place.eq(j), up.eq(~odd_above)]
        carry: Value = C(1, 1)
        with m.If(running & (entry != 0)):
            for digit in digits:
                with m.If(carry):
                    m.d.sync += digit.eq(Mux(digit == 2, 0, digit + 1))
                carry = carry & (digit == 2)

        with m.If(self.start):
            m.d.sync += [running.eq(1), entry.eq(0), *(digit.eq(1) for digit in digits)]
        with m.Elif(running):
            m.d.sync += entry.eq(entry + 1)
            with m.If(entry == ENTRIES - 1):
                m.d.sync += running.eq(0)

        base = Signal(self.word_address.shape())
        m.d.comb += base.eq(self.block * TRITS_PER_BYTE)
        m.d.comb += self.word_address.eq(base + place)

        # One cycle later the word is here, another one later its sum is.
        adding, adding_up, adding_entry = Signal(), Signal(), Signal(_INDEX_BITS)
        m.d.sync += [
            adding.eq(running),
            adding_up.eq(up),
            adding_entry.eq(entry),
            self.write.eq(adding),
            self.entry.eq(adding_entry),
            self.done.eq(adding & (adding_entry == ENTRIES - 1)),
        ]
        with m.If(adding):
            for t in range(self._tables):
                activation = self.word[t]
                with m.If(adding_entry == 0):
                    m.d.sync += self.values[t].eq(0)
                with m.Else():
                    # value +- a as one adder: a inverted, and the missing one as its carry-in.
                    inverted = activation.as_unsigned() ^ (~adding_up).replicate(INT8.bits)
                    total = Cat(C(1, 1), self.values[t]).as_signed() + Cat(~adding_up, inverted).as_signed()
                    m.d.sync += self.values[t].eq(total >> 1)
        return m


class LookupDot(wiring.Component):
    """Sum of 5 `tables` products of a ternary weight and an activation, every cycle.

    Each table has two banks: one is read while the other is filled. The sign bit of a weight byte inverts the
    entry that its index reads; the ones that a negation still lacks are the carry-ins of the adder tree, and
    one carry is left for the accumulator. Latency: `latency` cycles from `codes` to `total`. Cost: a 256 x 11
    bit memory and an adder a table.

    Parameters
    ----------
    tables
        Number of lookup tables, a byte of weights each.

    Attributes
    ----------
    codes : In
        One byte a table (`models.trits`).
    bank : In(1)
        Bank that `codes` read.
    total, carry : Out
        The sum is total + carry.
    fill_bank, entry, values, write : In
        Write port of all tables (`TableFiller`).
    """

    def __init__(self, tables: int) -> None:
        if tables < 1:
            raise ValueError(f"a lookup dot product needs at least one table, not {tables}")
        self._tables = tables
        super().__init__(
            {
                "codes": In(ArrayLayout(unsigned(8), tables)),
                "bank": In(1),
                "total": Out(signed(self.total_bits)),
                "carry": Out(1),
                "fill_bank": In(1),
                "entry": In(_INDEX_BITS),
                "values": In(ArrayLayout(signed(ENTRY_BITS), tables)),
                "write": In(1),
            }
        )

    @property
    def levels(self) -> int:
        """Levels of the adder tree."""
        return (self._tables - 1).bit_length()

    @property
    def total_bits(self) -> int:
        """Width of `total`."""
        return ENTRY_BITS + self.levels

    @property
    def latency(self) -> int:
        """Cycles from `codes` to `total`: the tables' read and a register a level."""
        return 1 + self.levels

    def elaborate(self, platform: object) -> Module:
        m = Module()
        values: list[Value] = []
        carries: list[Value] = []
        for t in range(self._tables):
            table = memory.Memory(shape=unsigned(ENTRY_BITS), depth=2 << _INDEX_BITS, init=[])
            m.submodules[f"table{t}"] = table
            write, read = table.write_port(), table.read_port()
            code = self.codes[t]
            negative = Signal(name=f"negative{t}")
            m.d.sync += negative.eq(code[7])
            m.d.comb += [
                read.addr.eq(Cat(code[:_INDEX_BITS], self.bank)),
                write.addr.eq(Cat(self.entry, self.fill_bank)),
                write.data.eq(self.values[t]),
                write.en.eq(self.write),
            ]
            value = Signal(signed(ENTRY_BITS), name=f"value{t}")
            m.d.comb += value.eq(read.data ^ negative.replicate(ENTRY_BITS))
            values.append(value)
            carries.append(negative)

        for level in range(self.levels):
            sums: list[Value] = []
            for k in range(0, len(values) - 1, 2):
                total = Signal(signed(ENTRY_BITS + level + 1), name=f"sum{level}_{k // 2}")
                m.d.sync += total.eq(
                    (Cat(C(1, 1), values[k]).as_signed() + Cat(carries.pop(0), values[k + 1]).as_signed())
                    >> 1
                )
                sums.append(total)
            if len(values) % 2:
                rest = Signal(signed(ENTRY_BITS + level + 1), name=f"rest{level}")
                m.d.sync += rest.eq(values[-1])
                sums.append(rest)
            kept: list[Value] = []
            for k, carry in enumerate(carries):
                later = Signal(name=f"carry{level}_{k}")
                m.d.sync += later.eq(carry)
                kept.append(later)
            values, carries = sums, kept
        (last,), (carry,) = values, carries
        m.d.comb += [self.total.eq(last), self.carry.eq(carry)]
        return m
