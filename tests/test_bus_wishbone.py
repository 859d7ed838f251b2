"""Wishbone: registers behind a classic slave, and weight beats over incrementing bursts."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from amaranth.sim import Simulator
from simulate import simulate
from test_registers import MAP, MEMBERS
from tritforge.hdl.bus.axi import AxiReader
from tritforge.hdl.bus.bursts import PAGE, beat_stride
from tritforge.hdl.bus.host import HostRegisters
from tritforge.hdl.bus.wishbone import WishboneReader, WishboneSignature, WishboneSlave
from tritforge.hdl.registers import IDENTITY, Role

PATIENCE = 20_000
BASE = 2 * PAGE


class Registers(wiring.Component):
    """Registers behind the slave; the accelerator's side is left to the test."""

    def __init__(self) -> None:
        self.registers = HostRegisters(MAP, MEMBERS)
        super().__init__({"bus": In(WishboneSignature())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slave = slave = WishboneSlave()
        m.submodules.registers = self.registers
        connect(m, flipped(self.bus), slave.bus)
        connect(m, slave.port, self.registers.port)
        return m


async def access(ctx: Any, bus: Any, offset: int, data: int | None = None, sel: int = 15) -> int | None:
    """One cycle; what was read, 0 for a write, None for an error."""
    for name, value in (("adr", offset >> 2), ("we", data is not None), ("dat_w", data or 0), ("sel", sel)):
        ctx.set(getattr(bus, name), value)
    ctx.set(bus.cyc, 1)
    ctx.set(bus.stb, 1)
    for _ in range(10):
        _, _, ack, err, found = await ctx.tick().sample(bus.ack, bus.err, bus.dat_r)
        if ack or err:
            assert ack + err == 1
            ctx.set(bus.cyc, 0)
            ctx.set(bus.stb, 0)
            return None if err else int(found)
    raise AssertionError("no answer")


def test_settings_are_read_back_and_wrong_accesses_end_with_err() -> None:
    dut = Registers()
    random = np.random.default_rng(0)

    async def testbench(ctx: Any) -> None:
        bus = dut.bus
        assert await access(ctx, bus, 0) == IDENTITY
        unsigned = [register for register in MAP.of(Role.SETTING) if not register.fields[0].signed]
        values = {register.offset: int(random.integers(1 << register.bits)) for register in unsigned}
        for offset, value in values.items():
            assert await access(ctx, bus, offset, value) is not None
        for offset, value in values.items():
            await ctx.tick().repeat(int(random.integers(1, 4)))
            assert await access(ctx, bus, offset) == value
        stop = MAP["STOPS_0"].offset
        before = await access(ctx, bus, stop)
        for sel in (0, 1, 3, 12, 14):
            assert await access(ctx, bus, stop, ~(before or 0) & 0xFFFF, sel) is None
        assert await access(ctx, bus, stop) == before
        assert await access(ctx, bus, 0xFFC) is None
        assert await access(ctx, bus, 0, 1) is None

    simulate(dut, testbench)


def test_two_accesses_in_one_cycle_of_the_bus() -> None:
    dut = Registers()

    async def testbench(ctx: Any) -> None:
        bus = dut.bus
        ctx.set(bus.cyc, 1)
        ctx.set(bus.stb, 1)
        found = []
        for k in (0, 1, 0, 1):
            ctx.set(bus.adr, k)
            for _ in range(10):
                _, _, ack, data = await ctx.tick().sample(bus.ack, bus.dat_r)
                if ack:
                    found.append(data)
                    break
        assert found == [IDENTITY, MAP["CONFIGURATION"].value] * 2

    simulate(dut, testbench)


def run_reader(
    beat_bytes: int,
    runs: list[list[tuple[int, int]]],
    *,
    waits: float = 0.0,
    stalls: float = 0.0,
    fail_at: int | None = None,
) -> tuple[list[list[int]], list[list[int]], int, bool]:
    """Read runs on every channel; return found and expected beats, cycles, and whether an error was told."""
    random = np.random.default_rng(beat_bytes)
    stride = beat_stride(8 * beat_bytes)
    beats = max(address + count for each in runs for address, count in each)
    data = random.integers(0, 256, (beats, stride), np.uint8)
    dut = WishboneReader(len(runs), 8 * beat_bytes, burst=8)
    size = dut.data_bits // 8
    words = [int.from_bytes(word.tobytes(), "little") for word in data.reshape(-1, size)]
    expected = [
        [
            int.from_bytes(data[beat, :beat_bytes].tobytes(), "little")
            for address, count in each
            for beat in range(address, address + count)
        ]
        for each in runs
    ]
    found: list[list[int]] = [[] for _ in runs]
    waiting = [list(each) for each in runs]
    cycles = 0
    error = False

    async def testbench(ctx: Any) -> None:
        nonlocal cycles, error
        ctx.set(dut.base, BASE)
        burst = None
        for _ in range(PATIENCE):
            bus = dut.bus
            if ctx.get(bus.stb):
                at = ctx.get(bus.adr) - BASE // size
                answer = random.random() >= waits
                # Where a burst's first word says so, the next address must follow.
                assert burst is None or burst == at
                ctx.set(bus.dat_r, words[at] if answer else 0)
                failed = answer and at == fail_at
                ctx.set(bus.ack, answer and not failed)
                ctx.set(bus.err, failed)
                if answer:
                    burst = at + 1 if ctx.get(bus.cti) == 0b010 else None
            else:
                assert burst is None
                ctx.set(bus.ack, 0)
                ctx.set(bus.err, 0)
            for k, left in enumerate(waiting):
                ctx.set(dut.requests[k].valid, bool(left))
                if left:
                    ctx.set(dut.requests[k].payload, {"address": left[0][0], "count": left[0][1]})
                ctx.set(dut.beats[k].ready, random.random() >= stalls)
            for k, (request, beat) in enumerate(zip(dut.requests, dut.beats, strict=True)):
                if ctx.get(request.valid & request.ready):
                    waiting[k].pop(0)
                if ctx.get(beat.valid & beat.ready):
                    found[k].append(ctx.get(beat.payload))
            await ctx.tick()
            cycles += 1
            if [len(each) for each in found] == [len(each) for each in expected]:
                error = bool(ctx.get(dut.error))
                return

    simulate(dut, testbench)
    return found, expected, cycles, error


@pytest.mark.parametrize("beat_bytes", [1, 8, 16, 24])
def test_beats_narrower_and_wider_than_the_bus_arrive_in_order(beat_bytes: int) -> None:
    runs = [[(3, 1), (0, 17), (5, 40), (2, 3)], [(1, 2), (50, 9), (0, 1), (7, 8), (9, 30)]]
    for waits, stalls in ((0.0, 0.0), (0.4, 0.3)):
        found, expected, _, error = run_reader(beat_bytes, runs, waits=waits, stalls=stalls)
        assert found == expected
        assert not error


def test_a_zero_wait_memory_gives_nearly_a_word_a_cycle() -> None:
    _, _, cycles, _ = run_reader(8, [[(0, 400)]])
    assert cycles <= 400 * 9 / 8 + 10  # a cycle more a burst of eight


def test_an_error_is_told_and_all_beats_still_come() -> None:
    found, expected, _, error = run_reader(8, [[(0, 20)]], fail_at=11)
    assert error
    assert len(found[0]) == len(expected[0])
    assert found[0][:11] == expected[0][:11]


def test_reset_in_the_middle_of_a_burst() -> None:
    dut, reset = WishboneReader(1, 64), Signal()
    found: list[int] = []

    async def take(ctx: Any, cycles: int) -> None:
        """Ask for beats 5 to 44, each of which is its own number."""
        ctx.set(dut.requests[0].payload, {"address": 5, "count": 40})
        ctx.set(dut.requests[0].valid, 1)
        for _ in range(cycles):
            ctx.set(dut.bus.ack, ctx.get(dut.bus.stb))
            ctx.set(dut.bus.dat_r, ctx.get(dut.bus.adr))
            _, _, valid, beat = await ctx.tick().sample(dut.beats[0].valid, dut.beats[0].payload)
            ctx.set(dut.requests[0].valid, 0)
            if valid:
                found.append(beat)

    async def testbench(ctx: Any) -> None:
        ctx.set(dut.beats[0].ready, 1)
        for cycles in (3, 4, 10, 20, 36, 37, 38):
            await take(ctx, cycles)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            assert not ctx.get(dut.bus.cyc)
            found.clear()
            await take(ctx, 100)
            assert found == list(range(5, 45))

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_a_response_that_is_not_okay_is_told_over_axi() -> None:
    dut = AxiReader(2, 64)

    async def testbench(ctx: Any) -> None:
        for response, told in ((0, 0), (2, 1), (0, 1)):
            ctx.set(dut.bus.rvalid, 1)
            ctx.set(dut.bus.rresp, response)
            await ctx.tick()
            ctx.set(dut.bus.rvalid, 0)
            await ctx.tick()
            assert ctx.get(dut.error) == told

    simulate(dut, testbench)


@pytest.mark.parametrize(
    ("beat_bytes", "stride", "axi", "wishbone"),
    [(1, 1, 8, 8), (8, 8, 64, 64), (16, 16, 128, 64), (24, 32, 256, 64), (208, 256, 1024, 64)],
)
def test_a_bus_is_as_wide_as_a_padded_beat_up_to_its_own_limit(
    beat_bytes: int, stride: int, axi: int, wishbone: int
) -> None:
    assert beat_stride(8 * beat_bytes) == stride
    assert AxiReader(2, 8 * beat_bytes).data_bits == axi
    assert WishboneReader(2, 8 * beat_bytes).data_bits == wishbone
