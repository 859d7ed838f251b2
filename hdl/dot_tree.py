"""Ternary dot product without tables: weights are decoded, and choose what is added."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8
from ..models.trits import TRITS_PER_BYTE
from .dot_adders import Term, add_terms, levels

__all__ = ["ActivationLoader", "TreeDot", "prefix_digits"]


class ActivationLoader(wiring.Component):
    """Reads a column block's activations, a word a cycle.

    Its ports are those of `dot.TableFiller`. Latency: 2 cycles from `start` to the first write, `steps` - 1
    more to `done`; a `start` before `done` begins again. Cost: a counter.

    Parameters
    ----------
    tables
        Activations of a word.
    words
        Number of activation words.
    stride
        Words from a column block's first to the next one's: 5 or more. A power of two makes the address a
        concatenation.

    Attributes
    ----------
    start : In(1)
        Begins a fill.
    block : In
        Column block whose activations are read; held until `done`.
    word_address : Out, word : In
        Activation memory's read port; its word comes in the cycle after the address. Word stride * b + j
        holds the activation of column (5 b + j) * tables + t in its byte t.
    entry, values, write : Out
        The word's number in its block, and its activations.
    done : Out(1)
        High in the cycle in which the last word is written.
    """

    def __init__(self, tables: int, words: int, stride: int = TRITS_PER_BYTE) -> None:
        self._stride = stride
        word = ArrayLayout(signed(INT8.bits), tables)
        super().__init__(
            {
                "start": In(1),
                "block": In(range(max(2, words // stride))),
                "word_address": Out(range(words)),
                "word": In(word),
                "entry": Out(range(TRITS_PER_BYTE)),
                "values": Out(word),
                "write": Out(1),
                "done": Out(1),
            }
        )

    @property
    def steps(self) -> int:
        """Cycles that a fill writes."""
        return TRITS_PER_BYTE

    def elaborate(self, platform: object) -> Module:
        m = Module()
        running, next_entry = Signal(), Signal.like(self.entry)
        last = Signal()
        m.d.comb += [
            last.eq(next_entry == self.steps - 1),
            self.word_address.eq(self.block * self._stride + next_entry),
            self.values.eq(self.word),
        ]
        m.d.sync += [self.write.eq(running), self.entry.eq(next_entry), self.done.eq(running & last)]
        with m.If(running):
            m.d.sync += next_entry.eq(next_entry + 1)
            with m.If(last):
                m.d.sync += running.eq(0)
        with m.If(self.start):
            m.d.sync += [running.eq(1), next_entry.eq(0), self.write.eq(0), self.done.eq(0)]
        return m


class TreeDot(wiring.Component):
    """Sum of 5 `tables` products of a ternary weight and an activation, every cycle.

    Activations are in flip-flops, twice: while one set is used, the other one is loaded; it comes into use
    when it is whole and `bank` tells its number. Ports are those of `dot.LookupDot`. Latency: `latency`
    cycles from `codes` to `total`. Cost a weight: 3 LUT4 to decode, 8 to choose, an adder of 9 to 14 bits, 16
    flip-flops of activations.

    Parameters
    ----------
    tables
        Bytes of weights a cycle.

    Attributes
    ----------
    codes : In
        Bytes of five weights (`models.trits.encode_prefix`).
    bank : In(1)
        Activations that `codes` are multiplied by. It may change a cycle behind the last code that needs the
        other ones, and those may be loaded anew two cycles behind that.
    total, carry : Out
        The sum is total + carry.
    fill_bank, entry, values, write : In
        Write port of the activations (`ActivationLoader`), words in order.
    """

    def __init__(self, tables: int) -> None:
        if tables < 1:
            raise ValueError(f"a dot product needs at least one byte of weights, not {tables}")
        self._tables = tables
        super().__init__(
            {
                "codes": In(ArrayLayout(unsigned(8), tables)),
                "bank": In(1),
                "total": Out(signed(self.total_bits)),
                "carry": Out(1),
                "fill_bank": In(1),
                "entry": In(range(TRITS_PER_BYTE)),
                "values": In(ArrayLayout(signed(INT8.bits), tables)),
                "write": In(1),
            }
        )

    @property
    def _levels(self) -> int:
        return levels(TRITS_PER_BYTE * self._tables)

    @property
    def total_bits(self) -> int:
        """Width of `total`."""
        return INT8.bits + self._levels

    @property
    def latency(self) -> int:
        """Cycles from `codes` to `total`: decoding, choosing and a register a level."""
        return 2 + self._levels

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loaded = [Signal(self.values.shape(), name=f"loaded{j}") for j in range(TRITS_PER_BYTE)]
        used = [Signal(self.values.shape(), name=f"used{j}") for j in range(TRITS_PER_BYTE)]
        whole, loaded_bank = Signal(), Signal()
        with m.If(whole & (self.bank == loaded_bank)):
            m.d.sync += [*(use.eq(load) for use, load in zip(used, loaded, strict=True)), whole.eq(0)]
        with m.If(self.write):
            m.d.sync += [whole.eq(self.entry == TRITS_PER_BYTE - 1), loaded_bank.eq(self.fill_bank)]
            m.d.sync += [load.eq(new) for load, new in zip(loaded, [*loaded[1:], self.values], strict=True)]

        terms = []
        for t in range(self._tables):
            for j, digit in enumerate(prefix_digits(m, self.codes[t], f"code{t}_")):
                known = Signal(2, name=f"digit{t}_{j}")
                chosen = Signal(signed(INT8.bits), name=f"chosen{t}_{j}")
                negative = Signal(name=f"negative{t}_{j}")
                m.d.sync += [
                    known.eq(digit),
                    chosen.eq(Mux(known.any(), used[j][t], 0) ^ known[1].replicate(INT8.bits)),
                    negative.eq(known[1]),
                ]
                terms.append(Term(chosen, negative))
        total = add_terms(m, terms)
        m.d.comb += [self.total.eq(total.value), self.carry.eq(total.carry)]
        return m


def prefix_digits(m: Module, code: Value, name: str) -> list[Value]:
    """Return a byte's five digits of two bits: bit 0 for +1, bit 1 for -1 (`models.trits.encode_prefix`)."""
    both, high, low, middle = (Signal(name=f"{name}{part}") for part in ("both", "high", "low", "middle"))
    rest = Signal(5, name=f"{name}rest")
    m.d.comb += [
        both.eq(code[2:5].all()),
        high.eq(code[5:7].all()),
        rest.eq(Mux(both, Cat(code[:2], code[5:]), code[:5])),
        low.eq(rest[:2].all()),
        middle.eq(rest[2:4].all()),
    ]
    single, pair = Cat(rest[4], 0), Cat(code[7], 0)
    return [
        Mux(
            low,
            Cat(rest[2] & ~rest[3], rest[3]),
            Mux(middle, rest[:2], Cat(rest[0] & ~rest[1], rest[1])),
        ),
        Mux(low, single, Mux(middle, 2, rest[2:4])),
        Mux(low | middle, 2, single),
        Mux(both, 2, Mux(high, pair, code[5:7])),
        Mux(both | high, 2, pair),
    ]
