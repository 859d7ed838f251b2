"""Runs the vector unit's instructions, for all streams at once."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .config import AcceleratorConfig
from .isa import LAYOUT, Opcode
from .measure import Measure
from .wide_measure import WideMeasure

__all__ = ["VectorControl"]


class VectorControl(wiring.Component):
    """Walks over vectors beside their weights: PROJECT, SCALE, ENERGY and BOUND.

    A running projection takes elements when the epilogues, or the embedding, produce them; else the elements
    are read from a vector memory, a word a cycle as long as there are weights. Latency: 1 cycle to begin, 1
    for a header, 1 until `clear` and the first address; `latency` cycles from the last word's address to
    `scale`. From the last element produced: as many, if it is gathered into a word; else one fewer, for it is
    there at once; and as many more as the last stream lags behind the first. Cost: a counter, a state
    machine.

    Parameters
    ----------
    config
        The accelerator.

    Attributes
    ----------
    start : In(1), instruction : In
        Begins; `instruction` needs to hold only in this cycle.
    idle : Out(1)
        Nothing is in work.
    scanning : In(1)
        With `start`: a running projection finds its elements in x's memory.
    take_header, unpack, count : Out; header_taken : In
        To `Unpacker`: the header, then the instruction's `count` weights are wanted.
    available : In; reserve, pop : Out
        To `WeightBuffer`.
    running : Out(1)
        Elements that are produced are taken; the producer reserves their weights.
    produced : In(1)
        An element is here.
    reading : Out(1)
        A vector memory is read.
    address, valid : Out
        Element read from a vector memory, a word's first one; `valid` tells, a cycle later, that it is here.
    present : Out
        If words have several elements: which ones of that word are the vector's.
    clear : Out(1)
        A pass of `Measure` begins.
    projecting, own_energy, product, against_g : Out
        The instruction's, held; `projecting` from a pass's second cycle on.
    bound_write : Out(1), bound_row : Out
        The weight taken is the lower bound of this row.
    measured : Out(1)
        The last projection's elements have all been measured.
    scale : Out(1)
        A pulse: peak and energy of a projection are complete.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self._count_bits = config.element_bits
        self._lag = config.lag
        self._width = config.vector_width
        self._measure = self.latency_of(self._width) - 1
        ports = {"present": Out(self._width)} if self._width > 1 else {}
        super().__init__(
            {
                "start": In(1),
                "instruction": In(LAYOUT),
                "scanning": In(1),
                "idle": Out(1),
                "take_header": Out(1),
                "header_taken": In(1),
                "unpack": Out(1),
                "count": Out(self._count_bits),
                "available": In(1),
                "reserve": Out(1),
                "pop": Out(1),
                "running": Out(1),
                "reading": Out(1),
                "produced": In(1),
                "address": Out(self._count_bits),
                "valid": Out(1),
                "clear": Out(1),
                "projecting": Out(1),
                "own_energy": Out(1),
                "product": Out(1),
                "against_g": Out(1),
                "bound_write": Out(1),
                "bound_row": Out(self._count_bits),
                "measured": Out(1, init=1),
                "scale": Out(1),
                **ports,
            }
        )

    @staticmethod
    def latency_of(width: int) -> int:
        """See above."""
        return 1 + (WideMeasure.latency_of(width) if width > 1 else Measure.latency)

    @property
    def latency(self) -> int:
        """See above."""
        return self.latency_of(self._width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opcode = Signal(Opcode)
        left, element = (Signal(self._count_bits, name=name, reset_less=True) for name in ("left", "element"))
        scale, run, read = Signal(), Signal(), Signal()
        # What is taken in a step, whether it is all that is left, and whether a word has been gathered.
        step: Value | int = 1
        last, gathered = Signal(reset_less=True), Signal()
        if self._width > 1:
            step = Mux(run, 1, self._width)
            full = (element + 1)[: exact_log2(self._width)] == 0
            m.d.sync += gathered.eq(self.running & self.produced & (full | last))
            for k in range(self._width):
                m.d.sync += self.present[k].eq(k < left)
        at_once = int(self._width == 1)  # whether elements that are produced come a cycle before those read
        flush = Signal(range(self._measure + self._lag), reset_less=True)
        flushed = Signal(reset_less=True)  # a cycle late
        m.d.comb += [
            self.address.eq(element),
            self.count.eq(left),
            self.pop.eq((gathered if self._width > 1 else self.running & self.produced) | read),
            self.reserve.eq(self.reading & self.available),
            self.valid.eq(read & (opcode != Opcode.BOUND)),
        ]
        # Registers: much hangs on them, and no element comes in the first cycle of a pass.
        clears = Signal()
        m.d.sync += [
            read.eq(self.reserve), self.clear.eq(clears), self.projecting.eq(opcode == Opcode.PROJECT),
        ]  # fmt: skip
        with m.FSM() as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                now = self.instruction
                m.d.sync += [
                    opcode.eq(now.opcode),
                    left.eq(now.count),
                    run.eq((now.opcode == Opcode.PROJECT) & now.running & ~self.scanning),
                    scale.eq(now.scale | (now.opcode != Opcode.PROJECT) & (now.opcode != Opcode.BOUND)),
                ]
                with m.If(self.start):
                    m.d.sync += [
                        self.own_energy.eq(now.own_energy),
                        self.product.eq(now.product),
                    ]
                    with m.If(now.opcode != Opcode.BOUND):
                        m.d.sync += self.against_g.eq(now.against_g)
                    m.next = "BEGIN"
                    with m.If((now.opcode == Opcode.PROJECT) | (now.opcode == Opcode.SCALE)):
                        m.next = "HEADER"
                    with m.If(now.opcode == Opcode.PROJECT):
                        m.d.sync += self.measured.eq(0)
            with m.State("HEADER"):
                m.d.comb += self.take_header.eq(1)
                with m.If(self.header_taken):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [
                    last.eq(left < step + 1),
                    element.eq(0),
                    self.bound_row.eq(0),
                    # One for this state, one for `flushed`.
                    flush.eq(self._measure - 2 + Mux(run, self._lag - at_once, 0)),
                    flushed.eq(0),
                ]
                m.next = "PASS"
                with m.If(opcode == Opcode.SCALE):
                    m.next = "END"
                with m.Else():
                    m.d.sync += [self.running.eq(run), self.reading.eq(~run)]
                    m.d.comb += [self.unpack.eq(1), clears.eq(opcode != Opcode.BOUND)]
            with m.State("PASS"):
                with m.If(Mux(run, self.produced, self.reserve)):
                    m.d.sync += [
                        element.eq(element + step), left.eq(left - step), last.eq(left < 2 * step + 1),
                    ]  # fmt: skip
                    with m.If(last):
                        m.d.sync += self.reading.eq(0)
                        m.next = "FLUSH"
            with m.State("FLUSH"):
                # Running still, for the streams that lag behind the first.
                m.d.sync += [flush.eq(flush - 1), flushed.eq(flush == 0)]
                with m.If(flushed):
                    m.d.sync += self.running.eq(0)
                    m.next = "END"
            with m.State("END"):
                m.d.comb += self.scale.eq(scale)
                with m.If(self.projecting):
                    m.d.sync += self.measured.eq(1)
                m.next = "IDLE"

        m.d.sync += self.bound_write.eq(read & (opcode == Opcode.BOUND))
        with m.If(self.bound_write):
            m.d.sync += self.bound_row.eq(self.bound_row + self._width)
        return m
