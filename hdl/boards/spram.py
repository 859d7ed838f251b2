"""Weight memory in the four single-port RAMs of an iCE40 UltraPlus."""

from amaranth.hdl import Array, Cat, ClockSignal, Instance, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..sequencer import REQUEST

__all__ = ["BEATS", "Spram", "SpramMemory"]

ADDRESS_BITS = 14
BEATS = 1 << ADDRESS_BITS
"""Beats that the memory holds, of 64 bits each."""
_WORD_BITS = 16
_RAMS = 4


class Spram(wiring.Component):
    """One SB_SPRAM256KA: 16,384 words of 16 bits, read or written, one a cycle.

    Latency: 1 cycle from address to word. Cost: a single-port RAM.

    Parameters
    ----------
    simulated
        A memory of its own in place of the vendor's cell.

    Attributes
    ----------
    address : In
        Word that is read, or written if `write` is high.
    write, data : In
        What is written.
    word : Out
        The word read last.
    """

    latency = 1

    def __init__(self, simulated: bool) -> None:
        self._simulated = simulated
        super().__init__(
            {
                "address": In(ADDRESS_BITS),
                "write": In(1),
                "data": In(_WORD_BITS),
                "word": Out(_WORD_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._simulated:
            m.submodules.memory = store = memory.Memory(shape=unsigned(_WORD_BITS), depth=BEATS, init=[])
            read, write = store.read_port(), store.write_port()
            m.d.comb += [
                read.addr.eq(self.address),
                self.word.eq(read.data),
                write.addr.eq(self.address),
                write.data.eq(self.data),
                write.en.eq(self.write),
            ]
        else:
            m.submodules.cell = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=self.address,
                i_DATAIN=self.data,
                i_MASKWREN=0b1111,
                i_WREN=self.write,
                i_CHIPSELECT=1,
                i_STANDBY=0,
                i_SLEEP=0,
                i_POWEROFF=1,
                o_DATAOUT=self.word,
            )
        return m


class _Channel(wiring.Component):
    """A run of beats that a reader wants; with `queue`, another one may wait behind it."""

    def __init__(self, count_bits: int, queue: bool) -> None:
        self._count_bits = count_bits
        self._queue = queue
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "wanted": Out(1),
                "address": Out(ADDRESS_BITS),
                "following": Out(ADDRESS_BITS),
                "last": Out(1),
                "taken": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(self._count_bits)
        new_address, new_count = Signal(ADDRESS_BITS), Signal(self._count_bits)
        begins = Signal()
        last = self.last
        with m.If(self.taken):
            m.d.sync += last.eq(left == 2)
            m.d.sync += [
                self.address.eq(self.following), self.following.eq(self.following + 1), left.eq(left - 1),
            ]  # fmt: skip
            with m.If(self.last):
                m.d.sync += self.wanted.eq(0)
        if self._queue:
            waits = Signal()
            m.d.comb += [
                self.request.ready.eq(~waits),
                begins.eq(waits & (~self.wanted | (self.taken & self.last))),
            ]
            with m.If(begins):
                m.d.sync += waits.eq(0)
            with m.If(self.request.valid & self.request.ready):
                m.d.sync += [
                    new_address.eq(self.request.payload.address),
                    new_count.eq(self.request.payload.count),
                    waits.eq(1),
                ]
        else:
            m.d.comb += [
                self.request.ready.eq(~self.wanted),
                begins.eq(self.request.valid & self.request.ready),
                new_address.eq(self.request.payload.address),
                new_count.eq(self.request.payload.count),
            ]
        with m.If(begins):
            m.d.sync += [
                self.address.eq(new_address),
                self.following.eq(new_address + 1),
                left.eq(new_count),
                last.eq(new_count == 1),
                self.wanted.eq(1),
            ]
        return m


class SpramMemory(wiring.Component):
    """64 bits a cycle for two readers, of which the vectors' goes first.

    A vector's beat is read when its reader will be ready for it, and comes two cycles later. A beat that was
    read and not taken is gone, and is read again: so neither reader can block the other. Latency: 2 cycles
    from a request to its first beat, then a matrix beat a cycle, of which a pause of the reader's costs up to
    one more. Cost: four single-port RAMs, for each reader up to five registers of an address.

    Parameters
    ----------
    vector_beats
        Most beats of a vector's request.
    simulated
        See `Spram`.

    Attributes
    ----------
    request, beats, vector_request, vector_beats, vector_soon :
        The accelerator's read channels, seen from the memory.
    write, write_address, write_word : In
        Writes a 16-bit word; its address counts words. Not while it is `busy`.
    read : In(1), word : Out
        The word at `write_address`, a cycle later. Not while it is `busy`.
    busy : Out(1)
        Beats are wanted.
    """

    def __init__(self, vector_beats: int, simulated: bool = False) -> None:
        self._vector_bits = vector_beats.bit_length()
        self._simulated = simulated
        beats = stream.Signature(unsigned(_RAMS * _WORD_BITS))
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "beats": Out(beats),
                "vector_request": In(stream.Signature(REQUEST)),
                "vector_beats": Out(beats),
                "vector_soon": In(1),
                "write": In(1),
                "write_address": In(ADDRESS_BITS + 2),
                "write_word": In(_WORD_BITS),
                "read": In(1),
                "word": Out(_WORD_BITS),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.matrices = matrices = _Channel(ADDRESS_BITS + 1, queue=True)
        m.submodules.vectors = vectors = _Channel(self._vector_bits, queue=False)
        rams = [Spram(self._simulated) for _ in range(_RAMS)]
        wiring.connect(m, matrices.request, wiring.flipped(self.request))
        wiring.connect(m, vectors.request, wiring.flipped(self.vector_request))

        # The way to the RAMs is long: whether a vector is read is decided a cycle before, and what is taken
        # of it is known a cycle after. While a matrix beat is there, the next one is read, as if it were
        # taken.
        read_vector, more_matrices, took_vector = Signal(), Signal(), Signal()
        outside = Signal()
        address, early = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        m.d.comb += [
            more_matrices.eq(matrices.wanted & ~(matrices.taken & matrices.last)),
            outside.eq(self.write | self.read),
            early.eq(Mux(outside, self.write_address[2:], vectors.address)),
            address.eq(
                Mux(
                    outside | read_vector,
                    early,
                    Mux(self.beats.valid, matrices.following, matrices.address),
                )
            ),
        ]
        m.d.sync += [
            read_vector.eq(
                vectors.wanted & self.vector_soon & ~read_vector & ~self.vector_beats.valid & ~took_vector
            ),
            took_vector.eq(self.vector_beats.valid & self.vector_beats.ready),
            self.vector_beats.valid.eq(read_vector),
            self.beats.valid.eq(more_matrices & ~read_vector & (~self.beats.valid | matrices.taken)),
        ]
        word = [ram.word for ram in rams]
        for k, ram in enumerate(rams):
            m.submodules[f"ram{k}"] = ram
            m.d.comb += [
                ram.address.eq(address),
                ram.write.eq(self.write & (self.write_address[:2] == k)),
                ram.data.eq(self.write_word),
            ]
        m.d.comb += [
            matrices.taken.eq(self.beats.valid & self.beats.ready),
            vectors.taken.eq(took_vector),
            self.beats.payload.eq(Cat(word)),
            self.vector_beats.payload.eq(Cat(word)),
            self.word.eq(Array(word)[self.write_address[:2]]),
            self.busy.eq(matrices.wanted | vectors.wanted),
        ]
        return m
