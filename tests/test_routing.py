"""Routed clocks of designs whose speed can be told apart, and the harness that isolates a unit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from simulate import simulate
from tritforge.hdl.dot import LookupDot
from tritforge.models.errors import TritforgeError
from tritforge.sim import routing
from tritforge.sim.harness import Harness
from tritforge.sim.routing import ROUTED_DEVICES, Routing, route
from tritforge.sim.synthesis import synthesise_counts
from tritforge.sim.tools import ToolError, nextpnr_version
from tritforge.sim.verilog import to_verilog


class Adder(wiring.Component):
    """`sum` is combinationally a + b; a bus within a bus, and a signed port."""

    def __init__(self, width: int) -> None:
        pair = wiring.Signature({"a": Out(width), "b": Out(width)})
        super().__init__({"operands": In(pair), "sum": Out(width), "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.sum.eq(self.operands.a + self.operands.b)
        m.d.sync += self.last.eq(self.operands.a[0])
        return m


class Source(wiring.Component):
    """A unit without an input."""

    one: Out(1)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("device", ROUTED_DEVICES)
def test_a_long_carry_chain_is_slower_than_a_short_one(device: str) -> None:
    long, short = (route(to_verilog(Harness(Adder(width))), device=device, seeds=(1,)) for width in (96, 4))
    assert 10 < long.median < 0.7 * short.median


def test_a_harness_takes_the_cells_that_it_says() -> None:
    # One port bit is a flip-flop of the unit itself, an adder's bit a table.
    harness = Harness(Adder(8))
    counts = synthesise_counts(to_verilog(harness))
    assert counts.ff == 1 + harness.flip_flops == 1 + 16 + 2 * 9
    assert harness.luts == 8
    assert 8 <= counts.lut4 - harness.luts <= 9


def test_a_harness_shifts_inputs_in_and_folds_outputs() -> None:
    random = np.random.default_rng(1)
    given = random.integers(0, 2, 300).tolist()
    found = []

    async def testbench(ctx: Any) -> None:
        for bit in given:
            ctx.set(harness.serial_in, bit)
            _, _, out = await ctx.tick().sample(harness.serial_out)
            found.append(out)

    harness = Harness(Adder(3))
    simulate(harness, testbench)

    def output(cycle: int, k: int) -> int:
        """Output bit k, `last` being 3; input bit n holds what came n + 1 cycles before."""
        bits = [given[cycle - 1 - n] for n in range(6)]
        total = sum(bits[n] << n for n in range(3)) + sum(bits[3 + n] << n for n in range(3))
        return given[cycle - 2] if k == 3 else total >> k & 1

    for cycle in range(20, 300):
        assert found[cycle] == np.bitwise_xor.reduce([output(cycle - (5 - k), k) for k in range(4)])


def test_more_ports_than_pins_need_a_harness() -> None:
    unit = Adder(40)
    with pytest.raises(ToolError, match=r"^nextpnr stopped with exit code \d+: ERROR: "):
        route(to_verilog(unit), seeds=(1,))
    routed = route(to_verilog(Harness(unit)), seeds=(1,))
    assert routed.used["SB_IO"] <= 4
    assert routed.available["SB_IO"] == 39


def test_each_seed_is_routed_once_and_the_median_is_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    verilog = to_verilog(Harness(LookupDot(6)))
    seen: list[tuple[int, int]] = []
    three = route(verilog, device="hx8k", seeds=(1, 2, 3), progress=lambda *step: seen.append(step))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert list(three.fmax) == [1, 2, 3]
    assert len(set(three.fmax.values())) > 1
    assert three.median == sorted(three.fmax.values())[1]

    def refuse(family: str, arguments: list[str], folder: Path) -> None:
        raise AssertionError("routed again")

    monkeypatch.setattr(routing, "run_nextpnr", refuse)
    assert route(verilog, device="hx8k", seeds=(3, 1)).fmax == {3: three.fmax[3], 1: three.fmax[1]}
    for other in ({"seeds": (4,)}, {"seeds": (1,), "device": "up5k"}):
        with pytest.raises(AssertionError, match="routed again"):
            route(verilog, **{"device": "hx8k", **other})  # type: ignore[arg-type]


def test_the_median_of_an_even_number_of_seeds_lies_between_two() -> None:
    assert Routing({1: 50.0, 2: 40.0, 3: 44.0, 4: 46.0}, {}, {}).median == 45.0


def test_what_cannot_be_routed_is_refused() -> None:
    with pytest.raises(TritforgeError, match="for device 'xc7': choose up5k, hx8k, 85f"):
        route("", device="xc7")
    with pytest.raises(TritforgeError, match="no seed to route with: give at least one"):
        route("", seeds=())
    with pytest.raises(TritforgeError, match="a design without a clock has no routed clock"):
        route("module top(input a, b, output y); assign y = a ^ b; endmodule", seeds=(1,))
    with pytest.raises(ToolError, match="there is no nextpnr for xilinx: pip install yowasp-nextpnr-xilinx"):
        nextpnr_version("xilinx")
    with pytest.raises(ValueError, match="a unit in a harness needs an input and an output"):
        Harness(Source())
