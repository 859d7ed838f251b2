"""Bench of the AXI units in Verilog: registers behind AXI4-Lite, weight beats over AXI4.

The other side of both buses is cocotbext-axi's: a master that waits for responses at random, and a memory
that stalls at random. What must be read comes from the register map and from the memory's bytes.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiReadBus, AxiResp  # type: ignore[import-untyped]

from ...hdl.accelerator import CAUSES, Accelerator
from ...hdl.bus.axi import AxiLiteSlave, AxiReader
from ...hdl.bus.bursts import PAGE, beat_stride
from ...hdl.bus.host import HostRegisters
from ...hdl.config import AcceleratorConfig
from ...hdl.registers import IDENTITY, Role, host_members, register_map
from ...models.image import Layout

__all__ = ["design"]

_CHANNELS = 2
_BEAT_BYTES = 24
_STRIDE = beat_stride(8 * _BEAT_BYTES)
_BASE = 3 * PAGE
_BEATS = 1000
_PATIENCE = 20_000
_CONFIG = AcceleratorConfig("bench", Layout(8, 128), 16, 16, 16, 64)
_SIGNATURE = Accelerator(_CONFIG).signature
_MAP = register_map(_SIGNATURE, _CONFIG.digest(), causes=CAUSES)


class _Design(wiring.Component):
    """Slave and registers, their accelerator's side open; beside them a reader."""

    def __init__(self) -> None:
        self._slave, self._registers = AxiLiteSlave(), HostRegisters(_MAP, host_members(_SIGNATURE))
        self._reader = AxiReader(_CHANNELS, 8 * _BEAT_BYTES)
        self._inner = {
            **{("s_axi", name): (self._slave.bus, name) for name in self._slave.bus.signature.members},
            **{("m_axi", name): (self._reader.bus, name) for name in self._reader.bus.signature.members},
        }
        members: dict[str, Member] = {
            f"{prefix}_{name}": bus.signature.members[name]
            for (prefix, _), (bus, name) in self._inner.items()
        }
        members |= {name: member.flip() for name, member in host_members(_SIGNATURE).items()}
        open_ends = ("base", "error", "requests", "beats")
        super().__init__(members | {name: self._reader.signature.members[name] for name in open_ends})

    def elaborate(self, platform: object) -> Module:
        """Amaranth's."""
        m = Module()
        m.submodules.slave, m.submodules.registers = self._slave, self._registers
        m.submodules.reader = reader = self._reader
        connect(m, self._slave.port, self._registers.port)
        for (prefix, name), (bus, _) in self._inner.items():
            outer, inner = getattr(self, f"{prefix}_{name}"), getattr(bus, name)
            m.d.comb += inner.eq(outer) if bus.signature.members[name].flow == In else outer.eq(inner)
        for name, member in host_members(_SIGNATURE).items():
            outer, inner = getattr(self, name), getattr(self._registers, name)
            if member.is_signature:
                connect(m, flipped(outer), inner)
            else:
                m.d.comb += outer.eq(inner) if member.flow == In else inner.eq(outer)
        m.d.comb += [reader.base.eq(self.base), self.error.eq(reader.error)]
        for ours, theirs in zip(
            [*self.requests, *self.beats], [*reader.requests, *reader.beats], strict=True
        ):
            connect(m, flipped(ours), theirs)
        return m


def design() -> wiring.Component:
    """The unit under test."""
    return _Design()


def _pauses(seed: int, rate: float) -> Iterator[bool]:
    random = np.random.default_rng(seed)
    return (bool(random.random() < rate) for _ in itertools.count())


async def _begin(dut: Any, rate: float = 0.0) -> AxiLiteMaster:
    """Start clock, master and reset; the master pauses in this share of the cycles."""
    for name in ("tokens__ready", "results__valid", "raw__valid", "idle", "cycles", "status"):
        getattr(dut, name).value = 0
    for k in range(_CHANNELS):
        getattr(dut, f"requests__{k}__valid").value = 0
        getattr(dut, f"beats__{k}__ready").value = 0
    dut.base.value = _BASE
    Clock(dut.clk, 10, unit="step").start()
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
    if rate:
        read, write = master.read_if, master.write_if
        channels = (read.ar_channel, read.r_channel, write.aw_channel, write.w_channel, write.b_channel)
        for seed, channel in enumerate(channels):
            channel.set_pause_generator(_pauses(seed, rate))
    await _reset(dut)
    return master


async def _reset(dut: Any) -> None:
    dut.rst.value = 1
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def _read(master: AxiLiteMaster, name: str) -> int:
    found = await master.read(_MAP[name].offset, 4)
    assert found.resp == AxiResp.OKAY, f"{name}: {found.resp}"
    return int.from_bytes(found.data, "little")


async def _write(master: AxiLiteMaster, name: str, value: int) -> None:
    done = await master.write(_MAP[name].offset, value.to_bytes(4, "little"))
    assert done.resp == AxiResp.OKAY, f"{name}: {done.resp}"


@cocotb.test()
async def settings_are_read_back(dut: Any) -> None:
    """With and without pauses; values are cut to the register's bits."""
    for rate in (0.0, 0.5):
        master = await _begin(dut, rate)
        assert await _read(master, "IDENTITY") == IDENTITY
        random = np.random.default_rng(1)
        values = {register.name: int(random.integers(1 << 32)) for register in _MAP.of(Role.SETTING)}
        for name, value in values.items():
            await _write(master, name, value)
        for name, value in values.items():
            register = _MAP[name]
            expected = value & (1 << register.bits) - 1
            if register.fields[0].signed and expected >> register.bits - 1:
                expected |= (1 << 32) - (1 << register.bits)
            assert await _read(master, name) == expected, name


@cocotb.test()
async def many_accesses_under_way_keep_their_order(dut: Any) -> None:
    """Sixty reads and writes asked for at once, of both kinds."""
    master = await _begin(dut, 0.3)
    reads, writes = [], []
    for k in range(30):
        writes.append(master.init_write(_MAP["STOPS_0"].offset, k.to_bytes(4, "little")))
        writes.append(master.init_write(_MAP["STOPS_1"].offset, (2 * k).to_bytes(4, "little")))
        reads.append(master.init_read(_MAP["IDENTITY"].offset, 4))
        reads.append(master.init_read(_MAP["CONFIGURATION"].offset, 4))
    for event in [*writes, *reads]:
        await event.wait()
        assert event.data.resp == AxiResp.OKAY
    assert await _read(master, "STOPS_0") == 29
    assert await _read(master, "STOPS_1") == 58
    words = [int.from_bytes(event.data.data, "little") for event in reads]
    assert words == [IDENTITY, int(_CONFIG.digest()[:8], 16)] * 30


@cocotb.test()
async def wrong_accesses_end_with_slverr_and_do_nothing(dut: Any) -> None:
    """Offsets without a register, reads and writes that a register has not, parts of words."""
    master = await _begin(dut)
    used = {register.offset for register in _MAP}
    for offset in (8, max(used) + 4, 0xFFC):
        assert offset not in used
        assert (await master.read(offset, 4)).resp == AxiResp.SLVERR
        assert (await master.write(offset, bytes(4))).resp == AxiResp.SLVERR
    for name in ("TOKENS", "PROGRAM", "POSITION", "RESULTS_1", "RAW"):
        assert (await master.read(_MAP[name].offset, 4)).resp == AxiResp.SLVERR, name
    for name in ("IDENTITY", "FLAGS", "RESULTS", "CYCLES", "STATE", "PROGRAM", "POSITION"):
        assert (await master.write(_MAP[name].offset, bytes(4))).resp == AxiResp.SLVERR, name
    await _write(master, "STOPS_0", 0x1234)
    for offset, size in ((0, 1), (1, 2), (0, 3), (3, 1)):
        assert (await master.write(_MAP["STOPS_0"].offset + offset, bytes(size))).resp == AxiResp.SLVERR
    assert await _read(master, "STOPS_0") == 0x1234


@cocotb.test()
async def reset_in_the_middle_of_accesses(dut: Any) -> None:
    """Whatever was under way, the next access works, and settings are zero."""
    master = await _begin(dut)
    for cycles in range(1, 8):
        await _write(master, "STOPS_0", 7)
        master.init_write(_MAP["STOPS_0"].offset, (9).to_bytes(4, "little"))
        master.init_read(_MAP["IDENTITY"].offset, 4)
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        await _reset(dut)
        assert await _read(master, "STOPS_0") == 0
        assert await _read(master, "IDENTITY") == IDENTITY


def _memory(dut: Any, rate: float) -> tuple[AxiRamRead, np.ndarray[Any, Any]]:
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 20)
    data = np.random.default_rng(2).integers(0, 256, (_BEATS, _STRIDE), np.uint8)
    ram.write(_BASE, data.tobytes())
    if rate:
        ram.ar_channel.set_pause_generator(_pauses(10, rate))
        ram.r_channel.set_pause_generator(_pauses(11, rate))
    return ram, data


async def _watch_bursts(dut: Any, lengths: list[int]) -> None:
    while True:
        await FallingEdge(dut.clk)
        if dut.m_axi_arvalid.value and dut.m_axi_arready.value:
            size = (int(dut.m_axi_arlen.value) + 1) * _STRIDE
            assert int(dut.m_axi_araddr.value) % PAGE + size <= PAGE
            lengths.append(size)


async def _ask(dut: Any, k: int, runs: list[tuple[int, int]]) -> None:
    """Give a channel its requests, one behind another."""
    valid, ready = (getattr(dut, f"requests__{k}__{part}") for part in ("valid", "ready"))
    for address, count in runs:
        getattr(dut, f"requests__{k}__payload").value = address | count << 32
        valid.value = 1
        while True:
            await FallingEdge(dut.clk)
            taken = bool(ready.value)
            await RisingEdge(dut.clk)
            if taken:
                break
    valid.value = 0


async def _take(dut: Any, k: int, count: int, rate: float) -> tuple[list[int], int]:
    """Take beats; return them, and the cycles from the first to the last."""
    random = np.random.default_rng(20 + k)
    beats: list[int] = []
    first = 0
    for cycle in range(_PATIENCE):
        getattr(dut, f"beats__{k}__ready").value = int(random.random() >= rate)
        await FallingEdge(dut.clk)
        if getattr(dut, f"beats__{k}__valid").value and getattr(dut, f"beats__{k}__ready").value:
            first = first or cycle
            beats.append(int(getattr(dut, f"beats__{k}__payload").value))
        await RisingEdge(dut.clk)
        if len(beats) == count:
            getattr(dut, f"beats__{k}__ready").value = 0
            return beats, cycle - first + 1
    raise AssertionError(f"channel {k}: {len(beats)} of {count} beats after {_PATIENCE} cycles")


def _expected(data: np.ndarray[Any, Any], runs: list[tuple[int, int]]) -> list[int]:
    return [
        int.from_bytes(data[beat, :_BEAT_BYTES].tobytes(), "little")
        for address, count in runs
        for beat in range(address, address + count)
    ]


def _runs(seed: int, number: int) -> list[tuple[int, int]]:
    random = np.random.default_rng(seed)
    counts = [1, 2, 31, 32, 33, 128, 129, *random.integers(1, 200, number).tolist()]
    return [(int(random.integers(_BEATS - count + 1)), count) for count in counts]


@cocotb.test()
async def beats_of_two_channels_arrive_in_order(dut: Any) -> None:
    """Runs on both channels at once; memory and accelerator stall at random; no burst crosses 4 KiB."""
    await _begin(dut)
    _, data = _memory(dut, 0.3)
    lengths: list[int] = []
    cocotb.start_soon(_watch_bursts(dut, lengths))
    runs = [_runs(3, 6), _runs(4, 6)]
    for k in range(_CHANNELS):
        cocotb.start_soon(_ask(dut, k, runs[k]))
    counts = [sum(count for _, count in each) for each in runs]
    taken = [cocotb.start_soon(_take(dut, k, counts[k], 0.3)) for k in range(_CHANNELS)]
    for k in range(_CHANNELS):
        beats, _ = await taken[k]
        assert beats == _expected(data, runs[k])
    assert sum(lengths) == sum(counts) * _STRIDE
    assert not dut.error.value


@cocotb.test()
async def a_stalled_channel_does_not_stop_the_other(dut: Any) -> None:
    """Nobody takes channel 0's beats, then nobody channel 1's."""
    await _begin(dut)
    _, data = _memory(dut, 0.0)
    for idle, busy in ((0, 1), (1, 0)):
        await _reset(dut)
        cocotb.start_soon(_ask(dut, idle, [(0, 900)]))
        cocotb.start_soon(_ask(dut, busy, [(5, 700), (1, 3)]))
        beats, _ = await _take(dut, busy, 703, 0.0)
        assert beats == _expected(data, [(5, 700), (1, 3)])


@cocotb.test()
async def a_long_run_streams_nearly_a_beat_a_cycle(dut: Any) -> None:
    """The memory needs a cycle or two a burst; the reader itself adds none."""
    await _begin(dut)
    _memory(dut, 0.0)
    cocotb.start_soon(_ask(dut, 0, [(0, 960)]))
    _, cycles = await _take(dut, 0, 960, 0.0)
    assert cycles <= 960 * 1.1
