"""Ternary dot product by lookup: a code of five or three weights addresses a table of the possible sums."""

from amaranth.hdl import C, Cat, Module, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8
from ..models.trits import TRITS_PER_BYTE, code_bits, entries
from .arith import delay
from .dot_adders import Term, add_terms, levels

__all__ = ["LookupDot", "TableFiller", "entry_bits"]


def entry_bits(trits: int) -> int:
    """Return the bits of a table entry: a sum of INT8, at most 128 each, above a bit that is added to it."""
    return (-INT8.low * trits).bit_length() + 2


class TableFiller(wiring.Component):
    """Walks the entries of all tables at once, from all zero outwards (`models.trits.fill_steps`).

    Each entry is the one before plus one activation, inverted where the sequence turns: then the one that a
    negation lacks is written beside it, and is the next sum's carry-in. So one control and one word of
    activations (one for each table) a cycle fill every table. Latency: 3 cycles from `start` to the first
    write, 4 if `staged`; `latency` cycles to `done`; a `start` before `done` begins again. Cost: an adder a
    table; where adders don't invert their sums for nothing, as on iCE40, a lookup table a bit more.

    Parameters
    ----------
    tables
        Number of lookup tables.
    words
        Number of activation words.
    trits
        Weights of a code: 5 or 3.
    stride
        Words from a column block's first to the next one's: `trits` or more. A power of two makes the address
        a concatenation.
    staged
        A register behind the activation memory, for families whose block RAM is slow.

    Attributes
    ----------
    start : In(1)
        Begins a fill.
    block : In
        Column block whose activations are read; held until `done`.
    word_address : Out, word : In
        Activation memory's read port; its word comes in the cycle after the address. Word stride * b + j
        holds digit j of column block b: activation of column (trits * b + j) * tables + t in its byte t.
    entry, values, write : Out
        The tables' write port: entry number, one value a table.
    done : Out(1)
        High in the cycle in which the last entry is written.
    """

    def __init__(
        self,
        tables: int,
        words: int,
        trits: int = TRITS_PER_BYTE,
        stride: int = TRITS_PER_BYTE,
        *,
        staged: bool = False,
    ) -> None:
        self._tables = tables
        self._staged = staged
        self._trits = trits
        self._stride = stride
        super().__init__(
            {
                "start": In(1),
                "block": In(range(max(2, words // stride))),
                "word_address": Out(range(words)),
                "word": In(ArrayLayout(signed(INT8.bits), tables)),
                "entry": Out(code_bits(trits) - 1),
                "values": Out(ArrayLayout(unsigned(entry_bits(trits)), tables)),
                "write": Out(1),
                "done": Out(1),
            }
        )

    @property
    def steps(self) -> int:
        """Entries of a table: cycles that a fill writes."""
        return entries(self._trits)

    @property
    def latency(self) -> int:
        """Cycles from `start` to `done`."""
        return 3 + self._staged + self.steps - 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A base-3 counter: its digits go 0, 1, 2 as 00, 01, 10. The digit that moves is the lowest that is
        # not 2, and it moves down if the digits above it have an odd sum. Whether all digits up to one are 2
        # is known a cycle before, when the first one is 1 and the others are 2.
        digits = [Signal(2, name=f"digit{j}", init=1) for j in range(self._trits)]
        twos = [digits[0][1], *(Signal(name=f"twos{j}") for j in range(1, self._trits))]
        place, down = Signal(range(self._trits)), Signal()
        running, ends = Signal(), Signal()
        m.d.comb += [
            down.eq(Cat(digit[0] & ~two for digit, two in zip(digits[1:], twos, strict=False)).xor()),
            ends.eq(twos[-1]),
        ]
        for j in range(1, self._trits):
            with m.If(twos[j - 1]):
                m.d.comb += place.eq(j)
                m.d.sync += digits[j].eq(Cat(~digits[j].any(), digits[j][0]))
            others = Cat(digit[1] for digit in digits[1 : j + 1])
            m.d.sync += twos[j].eq(running & digits[0][0] & others.all())
        with m.If(running):
            m.d.sync += digits[0].eq(Cat(~digits[0].any(), digits[0][0]))
        with m.If(ends):
            m.d.sync += running.eq(0)

        # The digits say which activation is read; a cycle later its address is out, another one later it is
        # here and, if it is not held for a cycle, added, another one later the sum is written.
        held = int(self._staged)
        read_place, read_down = Signal.like(place), Signal()
        turn, turned = Signal(), Signal()
        m.d.comb += self.word_address.eq(self.block * self._stride + read_place)
        m.d.sync += [read_place.eq(place), read_down.eq(down), turn.eq(read_down ^ down)]
        turns = delay(m, turn, held, "turns")[-1]
        words = delay(m, self.word.as_value(), held, "held")[-1]
        passing = [*delay(m, running, 1 + held, "reading"), self.write]
        ending = [*delay(m, ends, 1 + held, "ending"), self.done]
        for stages in (passing, ending):
            m.d.sync += stages[-1].eq(stages[-2])
        with m.If(self.start):
            m.d.sync += [
                running.eq(1),
                *(digit.eq(1) for digit in digits),
                *(stage.eq(0) for stage in (*twos[1:], *passing[1:], *ending[1:])),
            ]

        sums = [Signal(signed(entry_bits(self._trits) - 1), name=f"sum{t}") for t in range(self._tables)]
        with m.If(self.write):
            m.d.sync += [self.entry.eq(self.entry + 1), turned.eq(turns)]
        with m.Else():
            m.d.sync += [self.entry.eq(0), turned.eq(0)]
        for t, total in enumerate(sums):
            with m.If(self.write):
                activation = words.word_select(t, INT8.bits)
                added = Cat(C(1, 1), total).as_signed() + Cat(turned, activation).as_signed()
                m.d.sync += total.eq((added >> 1) ^ turns.replicate(len(total)))
            with m.Else():
                m.d.sync += total.eq(0)
            m.d.comb += self.values[t].eq(Cat(turned, total))
        return m


class LookupDot(wiring.Component):
    """Sum of products of ternary weights and activations, `trits` a table, every cycle.

    Each table has two banks: one is read while the other one is filled, so that no entry is read in the cycle
    that writes it. Of two terms that are added, the left one is taken as its entry says and the right one is
    negated where their signs differ; the left one's sign then holds for the sum, up to the last. A sum is
    negated before or behind its register: `fold_sums`. Latency: `latency` cycles from `codes` to `total`.
    Cost: a memory and an adder a table, and a lookup table a bit for every second entry's inversion.

    Parameters
    ----------
    tables
        Number of lookup tables, a code of weights each.
    trits
        Weights of a code: 5, with tables in block RAM, or 3, with tables in lookup tables used as memory.
    fold_sums
        Negate sums before their registers: costs nothing where an adder's lookup tables have the carry as an
        input (iCE40), else nothing is gained. Behind them it costs nothing where an operand goes to the carry
        chain through a lookup table (Xilinx).
    staged
        A register behind block RAM, for families whose block RAM is slow.

    Attributes
    ----------
    codes : In
        One code a table (`models.trits.encode_trits`).
    bank : In(1)
        Bank that `codes` read.
    total, carry : Out
        The sum is total + carry.
    fill_bank, entry, values, write : In
        Write port of all tables (`TableFiller`).
    """

    def __init__(
        self, tables: int, trits: int = TRITS_PER_BYTE, *, fold_sums: bool = True, staged: bool = False
    ) -> None:
        if tables < 1:
            raise ValueError(f"a lookup dot product needs at least one table, not {tables}")
        self._tables = tables
        self._trits = trits
        self._fold_sums = fold_sums
        self._block_ram = trits == TRITS_PER_BYTE
        self._staged = staged or not self._block_ram
        super().__init__(
            {
                "codes": In(ArrayLayout(unsigned(code_bits(trits)), tables)),
                "bank": In(1),
                "total": Out(signed(self.total_bits)),
                "carry": Out(1),
                "fill_bank": In(1),
                "entry": In(code_bits(trits) - 1),
                "values": In(ArrayLayout(unsigned(entry_bits(trits)), tables)),
                "write": In(1),
            }
        )

    @property
    def total_bits(self) -> int:
        """Width of `total`."""
        return entry_bits(self._trits) - 1 + levels(self._tables)

    @property
    def latency(self) -> int:
        """Cycles from `codes` to `total`: a read, perhaps a register behind it, a register a level."""
        return self._block_ram + self._staged + levels(self._tables)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        top = levels(self._tables)
        entry_known = int(self._block_ram)
        terms_known = self.latency - top

        def turned(level: int, place: int, term: Term, known: int) -> Term:
            """Negate a right term where its sign is not the left one's, and the whole by its own.

            The term is there `known` cycles behind the codes.
            """
            sign = self.codes[place << level][-1]
            if place % 2:
                sign = sign ^ self.codes[(place - 1) << level][-1]
            elif level < top:
                return term
            return term.negated(delay(m, sign, known, f"negative{level}_{place}_")[-1])

        terms = []
        for t in range(self._tables):
            table = memory.Memory(
                shape=unsigned(entry_bits(self._trits)),
                depth=2 << len(self.entry),
                init=[],
                attrs={"no_rw_check": 1, "ram_style": "block" if self._block_ram else "distributed"},
            )
            m.submodules[f"table{t}"] = table
            write, read = table.write_port(), table.read_port(domain="sync" if self._block_ram else "comb")
            m.d.comb += [
                read.addr.eq(Cat(self.codes[t][:-1], self.bank)),
                write.addr.eq(Cat(self.entry, self.fill_bank)),
                write.data.eq(self.values[t]),
                write.en.eq(self.write),
            ]
            term = turned(0, t, Term(read.data[1:].as_signed(), read.data[0]), entry_known)
            if self._staged:
                staged = Signal(len(read.data), name=f"staged{t}")
                m.d.sync += staged.eq(Cat(term.carry, term.value))
                term = Term(staged[1:].as_signed(), staged[0])
            terms.append(term)

        def before(level: int, place: int, term: Term) -> Term:
            return turned(level, place, term, terms_known + level - 1) if self._fold_sums else term

        def behind(level: int, place: int, term: Term) -> Term:
            return term if self._fold_sums else turned(level, place, term, terms_known + level)

        total = add_terms(m, terms, before, behind)
        m.d.comb += [self.total.eq(total.value), self.carry.eq(total.carry)]
        return m
