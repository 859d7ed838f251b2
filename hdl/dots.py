"""The ways to make a ternary dot product, behind one interface; which is best depends on the family."""

from dataclasses import dataclass

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..models.numerics import INT8
from ..models.trits import CODES, Code
from .dot import LookupDot, TableFiller
from .dot_sums import PartialSums
from .dot_tree import ActivationLoader, TreeDot

__all__ = ["DOTS", "FAMILIES", "DotKind", "DotUnit", "best_dot"]


@dataclass(frozen=True)
class DotKind:
    """A way to make a dot product.

    Parameters
    ----------
    name
        What the configuration calls it (`models.image.Layout`).
    """

    name: str

    @property
    def code(self) -> Code:
        """How its weights are written."""
        return CODES[self.name]

    def filler(self, tables: int, words: int, stride: int, family: str) -> TableFiller | ActivationLoader:
        """Return the unit that brings `tables` activations a word to dot products, as it suits a family.

        A column block's words are `stride` from those of the next one, the code's weights or more.
        """
        if self.name == "tree":
            return ActivationLoader(tables, words, stride)
        return TableFiller(tables, words, self.code.trits, stride, staged=_staged(family))

    def dot(self, tables: int, family: str) -> LookupDot | TreeDot:
        """Return the dot product of `tables` codes, as it suits a family."""
        if self.name == "tree":
            return TreeDot(tables)
        return LookupDot(tables, self.code.trits, fold_sums=family != "xilinx", staged=_staged(family))


def _staged(family: str) -> bool:
    """Whether a register behind block RAM pays."""
    return family != "ice40"


DOTS = {name: DotKind(name) for name in CODES}
"""Kind -> how it is made: by lookup in block RAM, in lookup tables used as memory, or by a tree of adders."""

FAMILIES = {"ice40": 32, "ecp5": 208, "gowin": 140, "xilinx": 3760}
"""Families that dot products are shaped for -> block RAMs of the largest device that is counted on.

They are an iCE40 HX8K, an ECP5 85F, a GW2A-55 and a Virtex-7 1140T, by their data sheets: of 4 kbit on iCE40,
else 18.
"""


def best_dot(family: str, tables: int) -> str:
    """Return the kind that takes the fewest lookup tables, as docs/dot.md has measured.

    That is lookup in block RAM. Where tables would take more than half of a family's block RAMs, which also
    hold everything else, it is LUT RAM on Xilinx and the adder tree elsewhere.
    """
    if 2 * tables <= FAMILIES[family]:
        return "lookup"
    return "lutram" if family == "xilinx" else "tree"


class DotUnit(wiring.Component):
    """A whole dot product: decoding, activation memory, filling, the sum, and partial sums in memory.

    What a matrix unit adds is control. Latency: `latency` cycles from a beat to its sum. Cost: that of its
    parts.

    Parameters
    ----------
    kind
        One of `DOTS`.
    tables
        Codes of a beat.
    family
        One of `FAMILIES`.
    rows
        Rows of a block.
    blocks
        Column blocks of a vector.
    slots
        Vectors that the activation memory holds.

    Attributes
    ----------
    write, address, word : In
        Write port of the activation memory: word `stride` * b + j holds the activation of column
        (trits * b + j) * tables + t in its byte t.
    start, block, fill_bank : In
        Fills a bank with the activations of a column block.
    done : Out(1)
        The bank is filled from the next cycle on.
    valid, codes, bank, first, final, ends : In
        A beat: its codes, the bank that they read, and whether it is of the first column block, of the last
        one, and of the last row of a block.
    sum, sum_valid : Out
        A finished sum.
    collision : Signal
        Something is read in the cycle that writes it, which must not be.
    """

    def __init__(self, kind: str, tables: int, family: str, rows: int, blocks: int, slots: int = 1) -> None:
        self._code = DOTS[kind].code
        words = self.stride * blocks * slots
        word = ArrayLayout(signed(INT8.bits), tables)
        self._filler = DOTS[kind].filler(tables, words, self.stride, family)
        self._dot = DOTS[kind].dot(tables, family)
        columns = blocks * self._code.trits * tables
        bits = (-INT8.low * columns).bit_length() + 1
        self._sums = PartialSums(rows, self._dot.total_bits, bits, self._dot.latency)
        self.collision = Signal()
        super().__init__(
            {
                "write": In(1),
                "address": In(range(words)),
                "word": In(word),
                "start": In(1),
                "block": In(range(max(2, blocks * slots))),
                "fill_bank": In(1),
                "done": Out(1),
                "valid": In(1),
                "codes": In(ArrayLayout(unsigned(self._code.bits), tables)),
                "bank": In(1),
                "first": In(1),
                "final": In(1),
                "ends": In(1),
                "sum": Out(signed(bits)),
                "sum_valid": Out(1),
            }
        )

    @property
    def stride(self) -> int:
        """Words from a column block's first to the next one's: a power of two, for a cheap address."""
        return int(2 ** (self._code.trits - 1).bit_length())

    @property
    def steps(self) -> int:
        """Cycles that a fill writes."""
        return self._filler.steps

    @property
    def write_back(self) -> int:
        """Cycles from a beat until the same row's next one may come."""
        return self._sums.write_back

    @property
    def latency(self) -> int:
        """Cycles from a beat to its sum."""
        return self._sums.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.filler, m.submodules.dot, m.submodules.sums = filler, dot, sums = (
            self._filler, self._dot, self._sums
        )  # fmt: skip
        m.submodules.activations = activations = memory.Memory(
            shape=unsigned(len(self.word.as_value())),
            depth=2 ** len(self.address),
            init=[],
            attrs={"no_rw_check": 1, "ram_style": "block"},
        )
        read, write = activations.read_port(), activations.write_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.word),
            write.en.eq(self.write),
            read.addr.eq(filler.word_address),
            filler.word.eq(read.data),
            filler.start.eq(self.start),
            filler.block.eq(self.block),
            self.done.eq(filler.done),
            dot.codes.eq(self.codes),
            dot.bank.eq(self.bank),
            dot.fill_bank.eq(self.fill_bank),
            dot.entry.eq(filler.entry),
            dot.values.eq(filler.values),
            dot.write.eq(filler.write),
            sums.valid.eq(self.valid),
            sums.first.eq(self.first),
            sums.final.eq(self.final),
            sums.ends.eq(self.ends),
            sums.totals[0].eq(dot.total),
            sums.carries.eq(dot.carry),
            self.sum.eq(sums.sums[0]),
            self.sum_valid.eq(sums.valid_sums),
            self.collision.eq(sums.collision | (self.valid & filler.write & (self.bank == self.fill_bank))),
        ]
        return m
