"""The device's end of the link: frames in, frames out, and all that they ask for."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out, connect, flipped

from ..accelerator import RAW_LOGIT, settings_layout
from ..arith import one_of
from ..conductor import RESULT, TOKEN
from .counter import Counter
from .counting import loaded
from .crc import Crc
from .protocol import (
    BUFFER_BYTES,
    ESCAPE_XOR,
    FLAG,
    HEADER_BYTES,
    IDENTITY_ADDRESS,
    PROTOCOL,
    TABLE_ENTRIES,
    Space,
)
from .ring import Ring
from .settings import CAUSE_BITS, SETTINGS

__all__ = ["ADDRESS_BITS", "LinkDevice"]

ADDRESS_BITS = 16
"""Of an address, in 16-bit words."""

_AREA = BUFFER_BYTES // 4
"""The buffer: a request, the text table with the identity, and twice as much for the ring."""
_FIRST = 256 - HEADER_BYTES
"""Index of a request's first byte, so that that of its first data byte is 0."""
_FULL = _AREA - HEADER_BYTES + 1
"""Index behind a byte that has come to lie on the header's first."""
_SHARED = ("stops", "stops_enabled", "sample", "emit_raw", "temperature_mantissa", "temperature_exponent")


class _Place:
    """Where the device is: a step, and in it a phase, one flip-flop each.

    Attributes
    ----------
    receive, begin, header, status, produced, data, check_high, check_low, end
        Steps: a request is received; a flag, its header is read, the response's bytes; a flag.
    ask, take, look, hand, act, settle
        Phases: a byte is asked for, read (which has no name), taken, looked at, handed on, acted upon, and
        that settles.
    listens, speaks, stores
        While it receives, what is in hand: a byte of the line, a result's that leaves as text, or one that
        goes into the ring.
    closes
        The response has ended.
    """

    def __init__(self) -> None:
        self.steps = Signal(9, init=1)
        self.receive, self.begin, self.header, self.status, self.produced, *others = self.steps
        self.data, self.check_high, self.check_low, self.end = others
        self.phase = Signal(7, init=1)
        self.ask, _, self.take, self.look, self.hand, self.act, self.settle = self.phase
        self.listens = Signal(reset_less=True)
        self.speaks = Signal(reset_less=True)
        self.stores = Signal(reset_less=True)
        self.closes = self.act & self.end


class _Request:
    """The request, and what is known of it.

    Attributes
    ----------
    byte, escaped, index
        The byte in hand, whether it comes behind an escape, and which one it is.
    command, address, count
        The header but for its number. Bytes move up as they come; address and count then count.
    space, writes, checks, opens
        Parts of the command.
    received, ended, complete
        A byte of a frame came, the frame's end came, and what came is a whole request, with its CRC.
    fills, full
        The byte in hand is behind one that lies on the header; it was so a cycle before.
    last
        The byte in hand is the header's last.
    runs
        The accelerator runs, and what is asked for can't be done meanwhile.
    granted, obey, refused
        It is answered with what it asks for, it is a WRITE to be obeyed, it is refused.
    word_end, word, tokens_wanted
        The byte in hand ends a word, a word that is to be written, one that is a token.
    """

    def __init__(self) -> None:
        self.byte = Signal(8, reset_less=True)
        self.escaped = Signal(reset_less=True)
        self.index = Signal(8, init=_FIRST, reset_less=True)
        self.command, self.count = Signal(7, reset_less=True), Signal(8, name="count", reset_less=True)
        self.address = Signal(ADDRESS_BITS, reset_less=True)
        self.space = self.command[:4]
        self.writes, self.checks, self.opens = self.command[4:]
        self.complete = Signal()
        self.received, self.ended, self.runs = Signal(), Signal(), Signal()
        self.fills, self.full = Signal(), Signal()
        self.last = Signal()
        self.granted = Signal(reset_less=True)
        self.obey = Signal(reset_less=True)
        self.refused = Signal(reset_less=True)
        self.word_end = self.index[0]
        self.word, self.tokens_wanted = Signal(), Signal()


class _Session:
    """What lasts from one request to the next.

    Attributes
    ----------
    number
        Of the latest request that was not refused.
    opened, halt, text, failed
        A session is open, a generation is to halt, results leave as text, flash held no whole set of frames.
    """

    def __init__(self) -> None:
        self.number = Signal(8, reset_less=True)
        self.opened = Signal(reset_less=True)
        self.halt = Signal(reset_less=True)
        self.text = Signal(reset_less=True)
        self.failed = Signal(reset_less=True)


class LinkDevice(wiring.Component):
    """Obeys and answers a host's requests, which docs/link.md describes.

    Everything goes byte by byte through one register, in seven cycles: the byte is asked for, read, taken,
    looked at, handed on, counted, and a cycle more. What is done depends on the step: a request is received
    into the buffer; then, in the same way, its header is read, it is obeyed and answered. Whatever goes to
    the accelerator or comes from it passes a register. Latency: 7 cycles a byte. Cost: a block RAM of 512
    bytes, the multiplexer of all that can be read, six counters; 96 flip-flops of settings.

    Parameters
    ----------
    build, config
        The identity: 8 bytes each.
    boots
        Whether requests come from flash first.

    Attributes
    ----------
    rx : In(stream), tx : Out(stream)
        Bytes from the host, or from flash while `booting`, and to the host.
    booting : Out(1)
        Requests come from flash, and are not answered.
    settings, new_position, set_position : Out; idle, cause : In
    tokens : Out(stream); raw, results : In(stream)
        The accelerator's. Nothing but results is taken while it is not `idle`.
    reset : Out(1)
        Resets the accelerator and its memory, for a cycle.
    address, data : Out
        Word of a memory, and what is written there.
    write_weights, write_program, write_state : Out(1)
        Writes it.
    read_weights : Out(1)
        The word at `address` is read, and comes in `weights`.
    weights, state : In
        Words read, a cycle after their address.
    weights_busy : In(1)
        The accelerator still reads weights, though it is idle: they can't be read.
    """

    def __init__(self, build: bytes, config: bytes, boots: bool = True) -> None:
        if len(build) != 8 or len(config) != 8:
            raise ValueError(f"build and config have 8 bytes each, not {len(build)} and {len(config)}")
        identity = bytes([PROTOCOL, 0]) + build + config
        self._init = [*bytes(_AREA + 2 * IDENTITY_ADDRESS), *identity]
        self._boots = boots
        byte = stream.Signature(unsigned(8))
        super().__init__(
            {
                "rx": In(byte),
                "tx": Out(byte),
                "booting": Out(1, init=int(boots)),
                "settings": Out(settings_layout(1)),
                "set_position": Out(1),
                "new_position": Out(32),
                "tokens": Out(stream.Signature(TOKEN)),
                "raw": In(stream.Signature(RAW_LOGIT)),
                "results": In(stream.Signature(RESULT)),
                "idle": In(1),
                "cause": In(CAUSE_BITS),
                "reset": Out(1),
                "address": Out(ADDRESS_BITS),
                "data": Out(16),
                "write_weights": Out(1),
                "write_program": Out(1),
                "write_state": Out(1),
                "read_weights": Out(1),
                "weights": In(16),
                "weights_busy": In(1),
                "state": In(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = memory.Memory(shape=unsigned(8), depth=BUFFER_BYTES, init=self._init)
        fetch, store = buffer.read_port(), buffer.write_port()
        m.submodules.crc = crc = Crc()
        m.submodules.ring = ring = Ring()
        m.submodules.counter = counter = Counter()
        at, request, session = _Place(), _Request(), _Session()
        m.d.comb += self.address.eq(request.address)
        self._frames(m, at, request, crc)
        self._steps(m, at, request, session, ring)
        self._counters(m, at, request)
        self._decide(m, at, request, session)
        settings = self._obey(m, at, request, session, fetch.data)
        self._results(m, at, request, settings, ring, counter)
        self._byte(m, at, request, session, fetch, ring, counter, crc)
        self._store(m, at, request, store, ring)
        return m

    def _frames(self, m: Module, at: _Place, request: _Request, crc: Crc) -> None:
        """Flags, escapes and the CRC, of what comes and of what leaves."""
        byte, escaped = request.byte, request.escaped
        special, is_flag, is_escape, is_inside = Signal(), Signal(), Signal(), Signal()
        covered, sends, escapes = Signal(), Signal(), Signal()
        m.d.comb += [
            request.ended.eq(at.act & is_flag),
            request.received.eq(at.act & is_inside),
            escapes.eq(special & covered & ~escaped),
            # The escape and the flag differ in two bits.
            self.tx.payload.eq(
                Cat(byte[0] | escapes, byte[1] & ~escapes, byte[2:5], byte[5] ^ escaped, byte[6:])
            ),
            crc.clear.eq(request.ended | at.closes),
            crc.update.eq(request.received | (at.act & covered)),
            crc.byte.eq(byte),
            request.fills.eq(request.index[2:] == _FULL >> 2),
        ]
        # Registers: what they come from stands still when they are looked at, and paths stay short.
        answers = request.last | at.status | at.produced | at.check_high | at.check_low
        m.d.sync += [
            request.last.eq(at.header & request.index[:3].all()),
            request.full.eq(request.fills),
            request.complete.eq(crc.zero & ~request.index[-1] & ~request.full),
            # As it came: a flag behind an escape is a flag.
            special.eq((byte[2:] ^ Mux(escaped, ESCAPE_XOR >> 2, 0) == FLAG >> 2) & (byte[0] ^ byte[1])),
            is_flag.eq(at.listens & special & byte[1]),
            is_escape.eq(special & byte[0]),
            is_inside.eq(at.listens & ~special),
            covered.eq(answers | (at.data & ~request.writes)),
            # As `hand`.
            self.tx.valid.eq((at.look & sends) | (self.tx.valid & ~(self.tx.ready & ~escapes))),
        ]
        m.d.comb += sends.eq(
            (~self.booting & (at.begin | at.end | (covered & ~(at.data & request.checks)))) | at.speaks
        )
        # A result that goes into the ring may come between an escape and what it escapes.
        with m.If((at.act & at.listens) | (self.tx.valid & self.tx.ready)):
            m.d.sync += escaped.eq(Mux(at.act, is_escape, escapes))

    def _steps(self, m: Module, at: _Place, request: _Request, session: _Session, ring: Ring) -> None:
        """Which phase and step come next, and when."""
        space = request.space
        waits, over, has_result = (Signal() for _ in range(3))
        busy = Signal()
        m.d.comb += waits.eq(self.tx.valid | self.tokens.valid | (request.last & self.booting & request.runs))
        with m.If(
            (at.act & ~(at.receive | at.data | (at.header & ~request.last)))
            | (request.ended & request.complete)
            | (at.ask & at.data & over)
        ):
            m.d.sync += at.steps.eq(at.steps.rotate_left(1))
        with m.If(
            Mux(
                at.ask,
                Mux(at.receive, self.rx.valid | has_result, ~(at.data & (over | busy))),
                ~(at.hand & waits),
            )
        ):
            m.d.sync += at.phase.eq(at.phase.rotate_left(1))
        with m.If(at.ask):
            # By turns, so that neither the host nor a result waits for ever.
            turn = self.rx.valid & ~(at.listens & has_result)
            m.d.sync += [
                at.listens.eq(at.receive & turn),
                at.speaks.eq(at.receive & ~turn & session.text),
                at.stores.eq(at.receive & ~turn & ~session.text),
            ]
        m.d.sync += [
            request.word.eq(at.data & request.obey & request.word_end),
            # A second token to choose after would wait for results that wait for it.
            request.tokens_wanted.eq(
                at.data & request.obey & request.word_end & space[2] & space[1] & ~space[0]
                & ~(space[3] & request.index[1:].any())
            ),
            over.eq((request.count == 0) | ~request.granted),
            busy.eq(self.weights_busy & ~space[2]),
            has_result.eq(Mux(session.text, self.results.valid & ~self.booting, ring.valid)),
        ]
        m.d.comb += self.rx.ready.eq(at.take & at.listens)

    def _counters(self, m: Module, at: _Place, request: _Request) -> None:
        """Take the header in; then count what is left of the data."""
        address, count, index = request.address, request.count, request.index
        loads = at.act & at.header & ~request.last
        with m.If(loads):
            m.d.sync += request.command.eq(address)
        with m.If(loads | (at.act & at.data & request.word_end)):
            m.d.sync += address.eq(loaded(at.header, Cat(address[8:], count), address))
        with m.If(loads | (at.act & at.data & (index.all() | ~request.checks))):
            m.d.sync += count.eq(Mux(at.data, (count + at.data.replicate(8))[:8], request.byte))
        counts = at.header | at.data | (at.produced & ~request.writes)
        with m.If((request.received & ~request.full) | (at.act & counts)):
            m.d.sync += index.eq(loaded(at.produced, Cat(C(0, 1), address[:7]), index))
        with m.If(request.ended | at.closes):
            m.d.sync += index.eq(_FIRST)

    def _decide(self, m: Module, at: _Place, request: _Request, session: _Session) -> None:
        """Whether a request is to be obeyed, and whether flash is read on."""
        space, index = request.space, request.index
        accepted, denied, same = Signal(), Signal(), Signal()
        m.d.comb += [
            denied.eq((request.runs & ~(request.writes & same)) | request.count[7]),
            accepted.eq(~denied & (session.opened | request.opens | self.booting)),
        ]
        m.d.sync += [
            # Not the ring, the table and control, which go on while the accelerator runs.
            request.runs.eq(~self.idle & ~(space[2] & ~space[3] & (~space[1] | space[0]))),
            same.eq(request.byte == session.number),
        ]
        with m.If(at.act & request.last):
            m.d.sync += [
                request.refused.eq(denied),
                request.granted.eq(accepted),
                request.obey.eq(accepted & request.writes & ~same),
            ]
            with m.If(accepted):
                m.d.sync += session.number.eq(request.byte)
            with m.If(request.opens & ~self.booting):
                m.d.sync += [session.opened.eq(1), session.text.eq(0)]
        with m.If(at.closes & request.opens):
            m.d.sync += self.booting.eq(0)
        if self._boots:
            # A whole frame that is wrong, one that never ends, or one that can't be obeyed.
            wrong, endless = Signal(), Signal()
            m.d.sync += wrong.eq(request.ended & ~request.complete & (~index[7] | index[2]))
            # While a byte settles: the next one, asked for in the cycle after, is the host's.
            m.d.comb += endless.eq(at.settle & at.listens & request.fills)
            with m.If(self.booting & (wrong | endless | (at.closes & request.refused))):
                m.d.sync += [self.booting.eq(0), session.failed.eq(1)]

    def _obey(self, m: Module, at: _Place, request: _Request, session: _Session, fetched: Value) -> View:
        """Do what a request asks for; return the settings."""
        space, address = request.space, request.address
        control = Signal()
        m.d.comb += control.eq(at.act & at.produced & request.obey & (space == 7))
        m.d.sync += self.reset.eq(control & address[2])
        with m.If(control):
            m.d.sync += [session.halt.eq(address[0]), session.text.eq(address[1])]
        settings = Signal(SETTINGS, reset_less=True)
        m.d.comb += [
            self.data.eq(Cat(request.byte, fetched)),
            *(self.settings[name].eq(settings[name]) for name in _SHARED),
            self.settings.seeds[0].eq(settings.seed),
            self.settings.halt.eq(session.halt),
            self.new_position.eq(Cat(self.data, address)),
            self.tokens.payload.token.eq(self.data),
            self.tokens.payload.logits.eq(space[3]),
            self.tokens.payload.new_tokens.eq(address),
        ]
        write_settings, given = Signal(), at.hand & request.word
        m.d.sync += [
            # As `act`.
            write_settings.eq(given & (space[:3] == 0)),
            self.write_weights.eq(given & (space[:3] == 1)),
            self.write_program.eq(given & (space[:3] == 2)),
            self.write_state.eq(given & (space[:3] == 3)),
            self.set_position.eq(given & (space[:3] == 7)),
            # As `hand`.
            self.tokens.valid.eq(
                (at.take & request.tokens_wanted) | (self.tokens.valid & ~self.tokens.ready)
            ),
        ]
        with m.If(write_settings):
            m.d.sync += settings.eq(Cat(settings.as_value()[16:], self.data))
        return settings

    def _results(
        self, m: Module, at: _Place, request: _Request, settings: View, ring: Ring, counter: Counter
    ) -> None:
        """What comes from the accelerator: results to the ring, cycles to the counter."""
        connect(m, flipped(self.raw), ring.raw)
        connect(m, flipped(self.results), ring.results)
        m.d.comb += [
            ring.emit_raw.eq(settings.emit_raw),
            ring.drop.eq(at.take & at.speaks),
            ring.clear.eq(self.reset),
            ring.take.eq(at.act & at.produced & request.granted & (request.space == 4)),
            ring.taken.eq(request.address),
            ring.wanted.eq(at.stores),
            ring.ready.eq(at.take & at.stores),
        ]
        m.d.comb += [
            counter.idle.eq(self.idle),
            counter.cause.eq(self.cause),
            counter.watched.eq(settings.cause),
            counter.clear.eq(self.reset),
        ]
        # Settings are as many bytes as turn it to where it was.
        m.d.sync += counter.rotate.eq(at.act & at.data & (request.space[:3] == 0))

    def _byte(
        self,
        m: Module,
        at: _Place,
        request: _Request,
        session: _Session,
        fetch: memory.ReadPort,
        ring: Ring,
        counter: Counter,
        crc: Crc,
    ) -> None:
        """Take the next byte from where it is."""
        index, space = request.index, request.space
        reads = at.data & ~request.writes
        m.d.comb += fetch.addr.eq(
            Mux(
                at.receive,
                Cat(self.results.payload.token[:7], C(1, 2)),
                Cat(index[:7], reads & (space[0] | index[7]), reads & ~space[0]),
            )
        )
        memories = reads & ~space[2]
        # High while a byte is asked for, so that its word is there a cycle later.
        m.d.sync += self.read_weights.eq((at.ask | at.settle) & reads & (space[:3] == 1) & ~self.weights_busy)
        # One of them alone. Registers: what is read waits there until it is taken, and so paths stay short.
        sources = (
            (
                (at.listens, self.rx.payload ^ Mux(request.escaped, ESCAPE_XOR, 0)),
                (at.speaks | at.header | (at.data & (request.writes | space[2])), fetch.data),
            ),
            (
                (
                    at.status,
                    Cat(self.idle, session.text, session.failed, C(0, 3), request.refused, session.opened),
                ),
                (at.produced, ring.position[1:]),
                (at.begin | at.end, C(FLAG, 8)),
            ),
            (
                (memories & (space[:2] == 0), counter.byte),
                (at.check_high | at.check_low, crc.high),
            ),
            (
                (memories & (space[:2] == 1) & ~index[0], self.weights[:8]),
                (memories & (space[:2] == 1) & index[0], self.weights[8:]),
            ),
            (
                (memories & space[1] & ~index[0], self.state[:8]),
                (memories & space[1] & index[0], self.state[8:]),
            ),
        )
        found: Value = ring.byte
        for k, pair in enumerate(sources):
            source = Signal(8, name=f"source{k}", reset_less=True)
            m.d.sync += source.eq(one_of(pair))
            found = found | source
        with m.If(at.take & ~(at.data & request.writes & request.word_end & ~(space[2] & ~space[1]))):
            m.d.sync += request.byte.eq(found)

    def _store(self, m: Module, at: _Place, request: _Request, store: memory.WritePort, ring: Ring) -> None:
        """Write requests, the text table and results into the buffer."""
        index, space = request.index, request.space
        writes_table = Signal()  # but not the identity behind it
        m.d.sync += writes_table.eq(
            at.data & request.obey & (space == Space.TABLE) & (index < TABLE_ENTRIES)
        )
        m.d.comb += [
            store.en.eq(ring.write | request.received | (at.act & writes_table)),
            store.addr.eq(Mux(ring.write, Cat(ring.position[:8], C(1, 1)), Cat(index[:7], at.data, C(0, 1)))),
            store.data.eq(request.byte),
        ]
