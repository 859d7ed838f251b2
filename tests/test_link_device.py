"""The device's end of the link alone: the accelerator and its memory are whatever a test makes of them."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator
from board_setup import BUILD, IDENTITY
from link_host import OPEN, OPENED, READ, RING, TABLE, WEIGHTS, WRITE, Host, answers, request
from tritforge.hdl.link.device import LinkDevice

PERIOD = 1e-6
QUIET = 200
"""Cycles in which a device that has something to say begins to say it."""

IDENTITY_WORD = 55
RESULT = -1
"""In `Lone.taken`, where bytes stand as what they are."""


class Lone:
    """The device in Amaranth's simulator.

    Parameters
    ----------
    random
        Lets some cycles pass before each byte; without it they come as fast as they are taken.

    Attributes
    ----------
    results : deque of int
        Tokens that the accelerator has ready.
    idle : bool
        Whether it waits for a token.
    memory : dict of int to int
        Words of the weight memory.
    busy : int
        Cycles in which the accelerator still reads weights.
    taken : list of int
        What the device took, bytes and results, in order.
    disturbed : int
        Reads of weights that the accelerator was in the way of.
    """

    def __init__(self, random: Random | None = None) -> None:
        self.dut = LinkDevice(BUILD, IDENTITY[10:], boots=False)
        self.results: deque[int] = deque()
        self.idle = True
        self.memory: dict[int, int] = {}
        self.busy = self.disturbed = 0
        self.taken: list[int] = []
        self._random = random
        self._rx: deque[int] = deque()
        self._tx = bytearray()
        self._now = 0
        self._simulator = Simulator(self.dut)
        self._simulator.add_clock(PERIOD)
        for each in (self._send, self._receive, self._give_results, self._give_weights):
            self._simulator.add_testbench(each, background=True)

    def exchange(self, data: bytes) -> bytes:
        """Give the device bytes, let it work until it is quiet, and return what it sent."""
        self._rx.extend(data)
        before = len(self._tx)
        quiet = False
        while not quiet:
            sent = len(self._tx)
            self._now += QUIET
            self._simulator.run_until(self._now * PERIOD)
            quiet = not self._rx and len(self._tx) == sent
        return bytes(self._tx[before:])

    async def _send(self, ctx: Any) -> None:
        rx = self.dut.rx
        while True:
            for _ in range(1 if self._random is None else self._random.choice((1, 10, 40))):
                await ctx.tick()
            if self._rx:
                ctx.set(rx.payload, self._rx[0])
                ctx.set(rx.valid, 1)
                await ctx.tick().until(rx.ready)
                ctx.set(rx.valid, 0)
                self.taken.append(self._rx.popleft())

    async def _receive(self, ctx: Any) -> None:
        tx = self.dut.tx
        ctx.set(tx.ready, 1)
        async for _, _, valid, byte in ctx.tick().sample(tx.valid, tx.payload):
            if valid:
                self._tx.append(byte)

    async def _give_results(self, ctx: Any) -> None:
        results = self.dut.results
        while True:
            ctx.set(self.dut.idle, self.idle)
            if self.results:
                ctx.set(results.payload.token, self.results[0])
                ctx.set(results.valid, 1)
                await ctx.tick().until(results.ready)
                ctx.set(results.valid, 0)
                self.results.popleft()
                self.taken.append(RESULT)
            await ctx.tick()

    async def _give_weights(self, ctx: Any) -> None:
        dut = self.dut
        while True:
            ctx.set(dut.weights_busy, self.busy > 0)
            _, _, read, address = await ctx.tick().sample(dut.read_weights, dut.address)
            self.disturbed += read and self.busy > 0
            # Nothing but a word that was asked for, and only in the cycle behind that.
            ctx.set(dut.weights, self.memory[address] if read and not self.busy else 0xAAAA)
            self.busy -= self.busy > 0


# Results that come in between the bytes of a request --------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_results_do_not_part_an_escape_from_its_byte(seed: int) -> None:
    random = Random(seed)
    device = Lone(random)
    host = Host(device.exchange)
    device.idle = False
    assert host.ask(OPEN | TABLE, IDENTITY_WORD, count=18).status & OPENED
    tokens = [random.randrange(1 << 12) for _ in range(60)]
    table = b"\x7d\x7e\x7e\x7d\x5e\x00" * 4
    device.results.extend(tokens)
    device.taken.clear()
    (written,) = answers(host.send(request(0x7D, WRITE | TABLE, 0, table)))
    (read,) = answers(host.send(request(0x7E, READ | TABLE, 0, count=len(table))))
    assert (written.number, read.number, read.data) == (0x7D, 0x7E, table)
    assert (0x7D, RESULT) in zip(device.taken, device.taken[1:], strict=False)
    host.number = 0x7E
    words = host.ask(READ | RING, 0, count=2 * len(tokens)).data
    assert words == b"".join(token.to_bytes(2, "little") for token in tokens)


# Weights that the accelerator still reads -------------------------------------------------------------------


def test_weights_are_read_when_the_accelerator_has_its_own() -> None:
    device = Lone()
    host = Host(device.exchange)
    host.ask(OPEN | TABLE, IDENTITY_WORD, count=18)
    device.memory = {word: 0x1000 + 0x0101 * word for word in range(8)}
    expected = b"".join(device.memory[word].to_bytes(2, "little") for word in range(2, 6))
    # The first byte is asked for some 120 cycles after the request begins.
    for busy in (0, *range(110, 140, 3), 600):
        device.busy = busy
        assert host.ask(READ | WEIGHTS, 2, count=8).data == expected, busy
    assert not device.disturbed
