"""The device's end of the link: frames in, frames out, and all that they ask for."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..accelerator import RAW_LOGIT, settings_layout
from ..conductor import RESULT, TOKEN
from .crc import Crc
from .protocol import (
    BUFFER_BYTES,
    COUNTER_BYTES,
    ESCAPE,
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

    Everything goes byte by byte through one register, in three cycles: the byte is asked for, it is taken,
    something is done with it. What is done depends on the step: a request is received; then, all in the same
    way, its header is read again, it is obeyed and answered. Latency: 3 cycles a byte. Cost: a block RAM of
    512 bytes, the multiplexer of all that can be read, five counters; the settings' 96 flip-flops.

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
    settings, new_position, set_position : Out; tokens : Out(stream); raw, results : In(stream); idle, cause : In
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

        # Where we are: a step, and in it asking, taking or using a byte. One flip-flop each.
        steps = Signal(8, init=1)
        receive, begin, header, status, produced, data, check, end = steps
        phase = Signal(3, init=1)
        ask, take, use = phase
        advance, again, done = Signal(), Signal(), Signal()
        talks, waits, runs = Signal(), Signal(), Signal()

        # The request: header bytes move up as they come; address and count then count.
        byte = Signal(8)
        index = Signal(8, init=_FIRST)
        command, count = Signal(8), Signal(8)
        address = self.address
        number = Signal(8)
        space = command[:4]
        writes, checks, opens = command[4], command[5], command[6]
        word_end = index[0]

        # What lasts.
        opened, obey, refused = Signal(), Signal(), Signal()
        halt, text, failed = Signal(), Signal(), Signal()
        escaped, speaks = Signal(), Signal()

        # Framing ------------------------------------------------------------------------------------------
        is_flag, is_escape = Signal(), Signal()
        flagging = begin | end
        numbered = Signal()
        covered, sends, escapes = Signal(), Signal(), Signal()
        m.d.comb += [
            is_flag.eq(byte == FLAG),
            is_escape.eq(byte == ESCAPE),
            numbered.eq(header & index[:3].all()),
            covered.eq(numbered | status | produced | check | (data & ~writes)),
            sends.eq(~self.booting & (flagging | (covered & ~(data & checks))) | (receive & speaks)),
            escapes.eq((is_flag | is_escape) & ~escaped & ~flagging & ~receive),
            self.tx.valid.eq(use & sends),
            self.tx.payload.eq(
                Mux(flagging, FLAG, Mux(escapes, ESCAPE, byte ^ Mux(escaped, ESCAPE_XOR, 0)))
            ),
        ]
        listens = receive & ~speaks
        received, ended = Signal(), Signal()
        m.d.comb += [
            ended.eq(use & listens & is_flag & ~escaped),
            received.eq(use & listens & ~((is_flag | is_escape) & ~escaped)),
        ]
        with m.If(use & listens):
            m.d.sync += escaped.eq(is_escape & ~escaped)
        with m.Elif(use & sends & self.tx.ready):
            m.d.sync += escaped.eq(escapes)
        complete = Signal()
        m.d.comb += [
            complete.eq(crc.zero & ~index[-1]),
            crc.clear.eq(ended | (use & end)),
            crc.update.eq(received | (use & done & covered)),
            crc.byte.eq(byte),
        ]

        # Steps --------------------------------------------------------------------------------------------
        word, tokens_wanted = Signal(), Signal()
        m.d.comb += [
            word.eq(use & data & obey & word_end),
            tokens_wanted.eq(word & space[2] & space[1] & ~space[0]),
            waits.eq(self.weights_busy & ~space[2]),
            talks.eq(text & self.results.valid & ~self.booting),
            done.eq(Mux(sends, self.tx.ready & ~escapes, (~tokens_wanted | self.tokens.ready) & ~(numbered & self.booting & runs))),
            again.eq(receive | data | (header & ~numbered) | (check & ~count[0])),
            advance.eq(
                (use & done & ~again) | (ended & complete) | (ask & data & (count == 0))
            ),
        ]
        with m.If(advance):
            m.d.sync += steps.eq(steps.rotate_left(1))
        with m.If(
            (ask & Mux(receive, self.rx.valid | talks, ~data | ((count != 0) & ~waits)))
            | take
            | (use & done)
        ):
            m.d.sync += phase.eq(phase.rotate_left(1))
        m.d.comb += self.rx.ready.eq(take & listens)
        with m.If(ask):
            m.d.sync += speaks.eq(talks & ~self.rx.valid)

        # Counters -----------------------------------------------------------------------------------------
        stepped = use & done
        with m.If(stepped & header & ~numbered):
            m.d.sync += Cat(command, address, count).eq(Cat(address, count, byte))
        carry = Signal(9)
        m.d.comb += carry.eq(index + 1)
        with m.If(stepped & data & Mux(checks, carry[8], 1) | (stepped & check)):
            m.d.sync += count.eq(count - 1)
        with m.If(stepped & data & word_end):
            m.d.sync += address.eq(address + 1)
        with m.If(received | (stepped & (header | data))):
            m.d.sync += index.eq(carry)
        with m.If(stepped & produced & ~writes):
            m.d.sync += index.eq(Cat(C(0, 1), address[:7]))
        with m.If(ended | (use & end)):
            m.d.sync += index.eq(_FIRST)

        # Is it to be obeyed? ------------------------------------------------------------------------------
        accepted, denied, same = Signal(), Signal(), Signal()
        m.d.comb += [
            # Not the ring, the table and control, which go on while the accelerator runs.
            runs.eq(~self.idle & ~(space[2] & ~space[3] & (~space[1] | space[0]))),
            same.eq(byte == number),
            denied.eq((runs & ~(writes & same)) | count[7]),
            accepted.eq(~denied & (opened | opens | self.booting)),
        ]
        with m.If(stepped & numbered):
            m.d.sync += [
                refused.eq(denied),
                obey.eq(accepted & writes & ~same),
            ]
            with m.If(accepted):
                m.d.sync += number.eq(byte)
            with m.Else():
                m.d.sync += count.eq(0)
            with m.If(opens & ~self.booting):
                m.d.sync += [opened.eq(1), text.eq(0)]
        with m.If(end & opens):
            m.d.sync += self.booting.eq(0)
        if self._boots:
            # A whole frame that is wrong, one that never ends, or one that can't be obeyed.
            wrong = (ended & ~complete & (~index[7] | index[2])) | (receive & index[7] & ~index[6])
            with m.If(self.booting & (wrong | (end & refused))):
                m.d.sync += [self.booting.eq(0), failed.eq(1)]

        # What a request does ------------------------------------------------------------------------------
        control = Signal()
        m.d.comb += control.eq(use & produced & obey & (space == 7))
        m.d.sync += self.reset.eq(control & address[2])
        with m.If(control):
            m.d.sync += [halt.eq(address[0]), text.eq(address[1])]
        settings = Signal(SETTINGS)
        m.d.comb += [
            self.data.eq(Cat(byte, fetch.data)),
            *(self.settings[name].eq(settings[name]) for name in _SHARED),
            self.settings.seeds[0].eq(settings.seed),
            self.settings.halt.eq(halt),
            self.write_weights.eq(word & (space[:3] == 1)),
            self.write_program.eq(word & (space[:3] == 2)),
            self.write_state.eq(word & (space[:3] == 3)),
            self.set_position.eq(word & (space[:3] == 7)),
            self.new_position.eq(Cat(self.data, address)),
            self.tokens.valid.eq(tokens_wanted),
            self.tokens.payload.token.eq(self.data),
            self.tokens.payload.logits.eq(space[3]),
            self.tokens.payload.new_tokens.eq(address),
        ]
        with m.If(word & (space[:3] == 0)):
            m.d.sync += settings.eq(Cat(settings.as_value()[16:], self.data))

        # Results ------------------------------------------------------------------------------------------
        connect(m, flipped(self.raw), ring.raw)
        put = ring.valid & ~use
        m.d.comb += [
            ring.results.valid.eq(self.results.valid),
            ring.results.payload.eq(self.results.payload),
            self.results.ready.eq(ring.results.ready | (use & receive & speaks & self.tx.ready)),
            ring.emit_raw.eq(settings.emit_raw),
            ring.text.eq(text),
            ring.clear.eq(self.reset),
            ring.take.eq(use & produced & (space == 4) & ~refused & opened),
            ring.taken.eq(address),
            ring.ready.eq(~use),
        ]
        counter = Signal(8 * COUNTER_BYTES)
        with m.If(~self.idle & (settings.cause[-1] | (self.cause == settings.cause[:-1]))):
            m.d.sync += counter.eq(counter + 1)
        with m.If(stepped & data & ~writes & ~refused & (space[:3] == 0)):
            m.d.sync += counter.eq(counter.rotate_right(8))
        with m.If(self.reset):
            m.d.sync += counter.eq(0)

        # The buffer ---------------------------------------------------------------------------------------
        reads = data & ~writes
        in_ring = reads & ~space[0]
        m.d.comb += [
            fetch.addr.eq(
                Mux(
                    receive,
                    Cat(self.results.payload.token[:7], C(1, 2)),
                    Cat(index[:7], reads & (space[0] | index[7]), in_ring),
                )
            ),
            store.en.eq(put | received | (use & data & obey & space[2] & ~space[1])),
            store.addr.eq(Mux(put, Cat(ring.position[:8], C(1, 1)), Cat(index[:7], data, C(0, 1)))),
            store.data.eq(Mux(put, ring.byte, byte)),
        ]

        # The byte -----------------------------------------------------------------------------------------
        words = Mux(space[1], self.state, self.weights)
        found = Signal(8)
        m.d.comb += self.read_weights.eq(ask & reads & (space[:3] == 1))
        with m.If(listens):
            m.d.comb += found.eq(self.rx.payload ^ Mux(escaped, ESCAPE_XOR, 0))
        with m.Elif(status):
            m.d.comb += found.eq(
                Cat(self.idle, text, failed, C(0, 3), refused, opened)
            )
        with m.Elif(produced):
            m.d.comb += found.eq(ring.position[1:])
        with m.Elif(check):
            m.d.comb += found.eq(crc.high)
        with m.Elif(reads & ~space[2]):
            m.d.comb += found.eq(Mux(space[:2] == 0, counter[:8], words.word_select(index[0], 8)))
        with m.Else():
            m.d.comb += found.eq(fetch.data)
        with m.If(take & ~(data & writes & word_end & ~(space[2] & ~space[1]))):
            m.d.sync += byte.eq(found)
        return m
