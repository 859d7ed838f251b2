"""The device's end of the link: frames in, frames out, and all that they ask for."""

from collections.abc import Iterable

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..accelerator import RAW_LOGIT, settings_layout
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
_SHARED = ("stops", "stops_enabled", "sample", "emit_raw", "temperature_mantissa", "temperature_exponent")


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

        # Where we are: a step, and in it asking for a byte, reading it, taking it, looking at it, handing it
        # on, acting upon that, and letting that settle. One flip-flop each.
        steps = Signal(9, init=1)
        receive, begin, header, status, produced, data, check_high, check_low, end = steps
        phase = Signal(7, init=1)
        ask, _, take, look, hand, act, settle = phase

        # The request: header bytes move up as they come; address and count then count.
        byte = Signal(8, reset_less=True)
        index = Signal(8, init=_FIRST, reset_less=True)
        command, count = Signal(7, reset_less=True), Signal(8, reset_less=True)
        address = Signal(ADDRESS_BITS, reset_less=True)
        m.d.comb += self.address.eq(address)
        space = command[:4]
        writes, checks, opens = command[4:]
        word_end = index[0]

        # What lasts.
        number = Signal(8, reset_less=True)
        opened, granted, obey, refused, halt, text, failed, escaped = (
            Signal(name=name, reset_less=True)
            for name in ("opened", "granted", "obey", "refused", "halt", "text", "failed", "escaped")
        )
        # While we receive: a byte is in hand, or a result's that leaves as text, or goes into the ring.
        listens, speaks, stores = (
            Signal(name=name, reset_less=True) for name in ("listens", "speaks", "stores")
        )

        # Framing ------------------------------------------------------------------------------------------
        special, is_flag, is_escape, is_inside = Signal(), Signal(), Signal(), Signal()
        received, ended, complete = Signal(), Signal(), Signal()
        last = Signal()
        closes = act & end
        covered, sends, escapes = Signal(), Signal(), Signal()
        m.d.comb += [
            ended.eq(act & is_flag),
            received.eq(act & is_inside),
            escapes.eq(special & covered & ~escaped),
            # The escape and the flag differ in two bits.
            self.tx.payload.eq(
                Cat(byte[0] | escapes, byte[1] & ~escapes, byte[2:5], byte[5] ^ escaped, byte[6:])
            ),
            crc.clear.eq(ended | closes),
            crc.update.eq(received | (act & covered)),
            crc.byte.eq(byte),
        ]
        # Registers: what they come from stands still when they are looked at, and paths stay short.
        answers = last | status | produced | check_high | check_low
        m.d.sync += [
            last.eq(header & index[:3].all()),
            complete.eq(crc.zero & ~index[-1]),
            # As it came: a flag behind an escape is a flag.
            special.eq((byte[2:] ^ Mux(escaped, ESCAPE_XOR >> 2, 0) == FLAG >> 2) & (byte[0] ^ byte[1])),
            is_flag.eq(listens & special & byte[1]),
            is_escape.eq(special & byte[0]),
            is_inside.eq(listens & ~special),
            covered.eq(answers | (data & ~writes)),
            # As `hand`.
            self.tx.valid.eq((look & sends) | (self.tx.valid & ~(self.tx.ready & ~escapes))),
        ]
        m.d.comb += sends.eq((~self.booting & (begin | end | (covered & ~(data & checks)))) | speaks)
        # A result that goes into the ring may come between an escape and what it escapes.
        with m.If((act & listens) | (self.tx.valid & self.tx.ready)):
            m.d.sync += escaped.eq(Mux(act, is_escape, escapes))

        # Steps --------------------------------------------------------------------------------------------
        word, tokens_wanted, runs, waits, over = Signal(), Signal(), Signal(), Signal(), Signal()
        has_result, busy = Signal(), Signal()
        m.d.comb += waits.eq(self.tx.valid | self.tokens.valid | (last & self.booting & runs))
        with m.If((act & ~(receive | data | (header & ~last))) | (ended & complete) | (ask & data & over)):
            m.d.sync += steps.eq(steps.rotate_left(1))
        with m.If(
            Mux(
                ask,
                Mux(receive, self.rx.valid | has_result, ~(data & (over | busy))),
                ~(hand & waits),
            )
        ):
            m.d.sync += phase.eq(phase.rotate_left(1))
        with m.If(ask):
            # By turns, so that neither the host nor a result waits for ever.
            turn = self.rx.valid & ~(listens & has_result)
            m.d.sync += [
                listens.eq(receive & turn),
                speaks.eq(receive & ~turn & text),
                stores.eq(receive & ~turn & ~text),
            ]
        m.d.sync += [
            word.eq(data & obey & word_end),
            tokens_wanted.eq(data & obey & word_end & space[2] & space[1] & ~space[0]),
            over.eq((count == 0) | ~granted),
            busy.eq(self.weights_busy & ~space[2]),
            has_result.eq(Mux(text, self.results.valid & ~self.booting, ring.valid)),
        ]
        m.d.comb += self.rx.ready.eq(take & listens)

        # Counters -----------------------------------------------------------------------------------------
        loads = act & header & ~last
        with m.If(loads):
            m.d.sync += command.eq(address)
        with m.If(loads | (act & data & word_end)):
            m.d.sync += address.eq(loaded(header, Cat(address[8:], count), address))
        with m.If(loads | (act & data & (index.all() | ~checks))):
            m.d.sync += count.eq(Mux(data, (count + data.replicate(8))[:8], byte))
        with m.If(received | (act & (header | data | (produced & ~writes)))):
            m.d.sync += index.eq(loaded(produced, Cat(C(0, 1), address[:7]), index))
        with m.If(ended | closes):
            m.d.sync += index.eq(_FIRST)

        # Is it to be obeyed? ------------------------------------------------------------------------------
        accepted, denied, same = Signal(), Signal(), Signal()
        m.d.comb += [
            denied.eq((runs & ~(writes & same)) | count[7]),
            accepted.eq(~denied & (opened | opens | self.booting)),
        ]
        m.d.sync += [
            # Not the ring, the table and control, which go on while the accelerator runs.
            runs.eq(~self.idle & ~(space[2] & ~space[3] & (~space[1] | space[0]))),
            same.eq(byte == number),
        ]
        with m.If(act & last):
            m.d.sync += [refused.eq(denied), granted.eq(accepted), obey.eq(accepted & writes & ~same)]
            with m.If(accepted):
                m.d.sync += number.eq(byte)
            with m.If(opens & ~self.booting):
                m.d.sync += [opened.eq(1), text.eq(0)]
        with m.If(closes & opens):
            m.d.sync += self.booting.eq(0)
        if self._boots:
            # A whole frame that is wrong, one that never ends, or one that can't be obeyed.
            wrong = Signal()
            m.d.sync += wrong.eq(
                (ended & ~complete & (~index[7] | index[2])) | (receive & index[7] & ~index[6])
            )
            with m.If(self.booting & (wrong | (closes & refused))):
                m.d.sync += [self.booting.eq(0), failed.eq(1)]

        # What a request does ------------------------------------------------------------------------------
        control = Signal()
        m.d.comb += control.eq(act & produced & obey & (space == 7))
        m.d.sync += self.reset.eq(control & address[2])
        with m.If(control):
            m.d.sync += [halt.eq(address[0]), text.eq(address[1])]
        settings = Signal(SETTINGS, reset_less=True)
        m.d.comb += [
            self.data.eq(Cat(byte, fetch.data)),
            *(self.settings[name].eq(settings[name]) for name in _SHARED),
            self.settings.seeds[0].eq(settings.seed),
            self.settings.halt.eq(halt),
            self.new_position.eq(Cat(self.data, address)),
            self.tokens.payload.token.eq(self.data),
            self.tokens.payload.logits.eq(space[3]),
            self.tokens.payload.new_tokens.eq(address),
        ]
        write_settings, given = Signal(), hand & word
        m.d.sync += [
            # As `act`.
            write_settings.eq(given & (space[:3] == 0)),
            self.write_weights.eq(given & (space[:3] == 1)),
            self.write_program.eq(given & (space[:3] == 2)),
            self.write_state.eq(given & (space[:3] == 3)),
            self.set_position.eq(given & (space[:3] == 7)),
            # As `hand`.
            self.tokens.valid.eq((take & tokens_wanted) | (self.tokens.valid & ~self.tokens.ready)),
        ]
        with m.If(write_settings):
            m.d.sync += settings.eq(Cat(settings.as_value()[16:], self.data))

        # Results ------------------------------------------------------------------------------------------
        connect(m, flipped(self.raw), ring.raw)
        connect(m, flipped(self.results), ring.results)
        m.d.comb += [
            ring.emit_raw.eq(settings.emit_raw),
            ring.drop.eq(take & speaks),
            ring.clear.eq(self.reset),
            ring.take.eq(act & produced & granted & (space == 4)),
            ring.taken.eq(address),
            ring.wanted.eq(stores),
            ring.ready.eq(take & stores),
        ]
        m.d.comb += [
            counter.idle.eq(self.idle),
            counter.cause.eq(self.cause),
            counter.watched.eq(settings.cause),
            counter.clear.eq(self.reset),
        ]
        # Settings are as many bytes as turn it to where it was.
        m.d.sync += counter.rotate.eq(act & data & (space[:3] == 0))

        # The buffer ---------------------------------------------------------------------------------------
        reads = data & ~writes
        m.d.comb += [
            fetch.addr.eq(
                Mux(
                    receive,
                    Cat(self.results.payload.token[:7], C(1, 2)),
                    Cat(index[:7], reads & (space[0] | index[7]), reads & ~space[0]),
                )
            ),
            store.en.eq(ring.write | received | (act & data & obey & space[2] & ~space[1])),
            store.addr.eq(Mux(ring.write, Cat(ring.position[:8], C(1, 1)), Cat(index[:7], data, C(0, 1)))),
            store.data.eq(byte),
        ]

        # The byte -----------------------------------------------------------------------------------------
        memories = reads & ~space[2]
        # High while a byte is asked for, so that its word is there a cycle later.
        m.d.sync += self.read_weights.eq((ask | settle) & reads & (space[:3] == 1) & ~self.weights_busy)
        # One of them alone. Registers: what is read waits there until it is taken, and so paths stay short.
        sources = (
            (
                (listens, self.rx.payload ^ Mux(escaped, ESCAPE_XOR, 0)),
                (speaks | header | (data & (writes | space[2])), fetch.data),
            ),
            (
                (status, Cat(self.idle, text, failed, C(0, 3), refused, opened)),
                (produced, ring.position[1:]),
                (begin | end, C(FLAG, 8)),
            ),
            (
                (memories & (space[:2] == 0), counter.byte),
                (check_high | check_low, crc.high),
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
            m.d.sync += source.eq(_chosen(pair))
            found = found | source
        with m.If(take & ~(data & writes & word_end & ~(space[2] & ~space[1]))):
            m.d.sync += byte.eq(found)
        return m


def _chosen(values: Iterable[tuple[Value, Value]]) -> Value:
    """The one value whose condition is high, or 0."""
    found: Value = C(0, 8)
    for chosen, value in values:
        found = found | (value & chosen.replicate(8))
    return found
