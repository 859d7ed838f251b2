"""The register map, and the hardware that decodes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out
from simulate import simulate
from tritforge.hdl.accelerator import CAUSES, Accelerator
from tritforge.hdl.bus.host import HostRegisters
from tritforge.hdl.bus.top import BusAccelerator
from tritforge.hdl.config import AcceleratorConfig
from tritforge.hdl.registers import ADDRESS_BITS, Role, host_members, register_map, weight_channels
from tritforge.models.errors import TritforgeError
from tritforge.models.image import Layout

CONFIG = AcceleratorConfig("test", Layout(8, 128), 16, 16, 20, 64, streams=2)
SIGNATURE = Accelerator(CONFIG).signature
MEMBERS = {**host_members(SIGNATURE), "weights_base": In(64), "memory_error": Out(1)}
MAP = register_map(
    SIGNATURE, CONFIG.digest(), {"weights_base": In(64), "memory_error": Out(1)}, CAUSES
)


def test_registers_are_words_at_offsets_of_their_own() -> None:
    offsets = [register.offset for register in MAP]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 1 << ADDRESS_BITS for offset in offsets)
    assert len({register.name for register in MAP}) == len(offsets)
    for register in MAP:
        assert 1 <= register.bits <= 32
        taken: set[int] = set()
        for field in register.fields:
            bits = set(range(field.low, field.low + field.bits))
            assert not bits & taken
            taken |= bits


def test_every_bit_of_every_member_that_a_host_sees_has_its_place() -> None:
    special = {"program_write", "state_write", "state_write_value", "set_position"}
    for name, member in MEMBERS.items():
        if name in special:
            continue
        shape = member.signature.members["payload"].shape if member.is_signature else member.shape
        roles = [role for role in Role if role not in (Role.FLAGS, Role.COUNT, Role.HIGHER)]
        fields = [
            field
            for register in MAP.of(*roles, Role.HIGHER, member=name)
            for field in register.fields
        ]
        covered = [bit for field in fields for bit in range(field.at, field.at + field.bits)]
        width = len(Value.cast(wiring.Signature({"x": Out(shape)}).create().x))
        assert sorted(covered) == list(range(width)), name


def test_no_weight_channel_and_no_probe_is_in_the_map() -> None:
    assert weight_channels(SIGNATURE) == [("request", "beats"), ("vector_request", "vector_beats")]
    seen = {field.member for register in MAP for field in register.fields}
    assert not seen & {"request", "beats", "vector_request", "vector_beats", "probe"}


def test_the_documents_name_every_register() -> None:
    table = MAP.to_markdown().splitlines()[2:]
    assert len(table) == len(MAP.registers)
    found = json.loads(json.dumps(MAP.to_dict()))["registers"]
    for line, entry, register in zip(table, found, MAP, strict=True):
        assert line.startswith(f"| `{register.offset:#05x}` | {register.name} | {register.access} |")
        assert (entry["name"], entry["offset"], entry["access"], entry["bits"]) == (
            register.name,
            register.offset,
            register.access,
            register.bits,
        )
        assert entry["description"]


def test_a_word_is_made_of_members_bits_and_a_lone_signed_one_is_extended() -> None:
    raw = StructLayout({"sum": 24, "row": 16, "stream": 4})
    value = raw.const({"sum": 0xFFFFFE, "row": 300, "stream": 1}).as_bits()
    total, row = MAP.of(Role.SHOW, Role.TAKE, member="raw")
    assert total.word({"raw": value}) == 0xFFFFFFFE
    assert row.word({"raw": value}) == 300 | 1 << 16


def test_more_registers_than_the_page_holds_are_refused() -> None:
    signature = wiring.Signature({**SIGNATURE.members, "many": Out(ArrayLayout(32, 1000))})
    with pytest.raises(TritforgeError, match=r"^the registers take \d+ bytes; a page has 4096$"):
        register_map(signature, CONFIG.digest())


class Port:
    """Drives the port of the registers."""

    def __init__(self, ctx: Any, dut: HostRegisters) -> None:
        self.ctx, self.port = ctx, dut.port

    async def access(self, name: str, data: int | None = None) -> int | None:
        """What was read, 0 for a write, None if it was refused."""
        self.ctx.set(self.port.address, MAP[name].offset >> 2)
        self.ctx.set(self.port.read, data is None)
        self.ctx.set(self.port.write, data is not None)
        self.ctx.set(self.port.write_data, data or 0)
        await self.ctx.tick()
        self.ctx.set(self.port.read, 0)
        self.ctx.set(self.port.write, 0)
        _, _, error, found = await self.ctx.tick().sample(self.port.error, self.port.read_data)
        return None if error else int(found)


def drive(testbench: Any) -> None:
    dut = HostRegisters(MAP, MEMBERS)

    async def begin(ctx: Any) -> None:
        await testbench(ctx, dut, Port(ctx, dut))

    simulate(dut, begin)


def test_a_token_waits_until_it_is_taken_and_a_second_is_refused_meanwhile() -> None:
    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        assert await port.access("FLAGS") == 1
        assert await port.access("TOKENS", 77 | 1 << 16) == 0
        assert not ctx.get(dut.tokens.valid)
        assert await port.access("TOKENS_1", 5 | 1 << 16) == 0
        assert ctx.get(dut.tokens.valid)
        assert await port.access("FLAGS") == 0
        assert await port.access("TOKENS", 1) is None
        assert await port.access("TOKENS_1", 1) is None
        payload = ctx.get(dut.tokens.payload)
        assert (payload.token, payload.logits, payload.new_tokens, payload.stream) == (77, 1, 5, 1)
        ctx.set(dut.tokens.ready, 1)
        await ctx.tick()
        ctx.set(dut.tokens.ready, 0)
        assert not ctx.get(dut.tokens.valid)
        assert await port.access("FLAGS") == 1

    drive(testbench)


def test_a_result_is_taken_by_reading_its_last_word() -> None:
    result = {"token": 9, "mantissa": 0x5555, "exponent": -3, "last": 1, "stream": 1}

    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        assert await port.access("RESULTS") is None
        assert await port.access("RESULTS_1") is None
        ctx.set(dut.results.payload, result)
        ctx.set(dut.results.valid, 1)
        assert await port.access("FLAGS") == 0b011
        for _ in range(2):
            assert await port.access("RESULTS") == 9 | 0x5555 << 16
            assert not ctx.get(dut.results.ready)
        ctx.set(dut.port.address, MAP["RESULTS_1"].offset >> 2)
        ctx.set(dut.port.read, 1)
        _, _, ready = await ctx.tick().sample(dut.results.ready)
        assert ready
        ctx.set(dut.port.read, 0)
        ctx.set(dut.results.valid, 0)
        _, _, error, found, ready = await ctx.tick().sample(
            dut.port.error, dut.port.read_data, dut.results.ready
        )
        assert (error, found, ready) == (0, (-3 & 0xFF) | 1 << 8 | 1 << 9, 0)

    drive(testbench)


def test_program_and_state_addresses_move_on_and_wait_for_idle() -> None:
    written: list[tuple[str, int, int]] = []

    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        for name in ("PROGRAM", "STATE", "POSITION"):
            assert await port.access(name, 1) is None
        ctx.set(dut.idle, 1)
        await port.access("PROGRAM_ADDRESS", 5)
        await port.access("STATE_ADDRESS", 3)
        for name, data in (("PROGRAM", 0xABCD), ("PROGRAM", 7), ("STATE", 0x8001), ("STATE", 2)):
            kind = name.lower()
            value = dut.program_word if name == "PROGRAM" else dut.state_write_value
            ctx.set(dut.port.address, MAP[name].offset >> 2)
            ctx.set(dut.port.write, 1)
            ctx.set(dut.port.write_data, data)
            _, _, write, address, word = await ctx.tick().sample(
                getattr(dut, f"{kind}_write"), getattr(dut, f"{kind}_address"), value
            )
            ctx.set(dut.port.write, 0)
            await ctx.tick()
            assert write
            written.append((name, address, word & 0xFFFF))
        ctx.set(dut.state_value, -2)
        assert await port.access("STATE") == 0xFFFFFFFE
        assert await port.access("STATE_ADDRESS") == 6
        assert await port.access("PROGRAM_ADDRESS") == 7

    drive(testbench)
    assert written == [("PROGRAM", 5, 0xABCD), ("PROGRAM", 6, 7), ("STATE", 3, 0x8001), ("STATE", 4, 2)]


def test_a_position_is_given_while_idle() -> None:
    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        ctx.set(dut.idle, 1)
        ctx.set(dut.port.address, MAP["POSITION"].offset >> 2)
        ctx.set(dut.port.write, 1)
        ctx.set(dut.port.write_data, 1234)
        _, _, given, position = await ctx.tick().sample(dut.set_position, dut.new_position)
        assert (given, position) == (1, 1234)
        ctx.set(dut.port.write, 0)
        await ctx.tick()
        assert not ctx.get(dut.set_position)

    drive(testbench)


def test_both_words_of_a_counter_are_of_the_same_moment() -> None:
    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        ctx.set(dut.cycles, 0x1234_FFFFFFFF)
        assert await port.access("CYCLES") == 0xFFFFFFFF
        ctx.set(dut.cycles, 0x1235_00000000)
        assert await port.access("SATURATIONS") == 0
        assert await port.access("CYCLES_HIGH") == 0x1234

    drive(testbench)


def test_settings_reach_the_accelerator() -> None:
    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        for name, value in (("STOPS_1", 0xBEEF), ("HALT", 1), ("SEEDS_1", 0xDEADBEEF), ("STATE_STREAM", 1)):
            assert await port.access(name, value) == 0
        assert await port.access("TEMPERATURE_EXPONENT", -5 & 0xFF) == 0
        assert await port.access("WEIGHTS_BASE", 0x1000) == 0
        assert await port.access("WEIGHTS_BASE_HIGH", 0x22) == 0
        settings = ctx.get(dut.settings)
        assert (settings.stops[1], settings.halt, settings.seeds[1]) == (0xBEEF, 1, 0xDEADBEEF)
        assert settings.temperature_exponent == -5
        assert ctx.get(dut.state_stream) == 1
        assert ctx.get(dut.weights_base) == 0x22_0000_1000
        assert await port.access("TEMPERATURE_EXPONENT") == -5 & 0xFFFFFFFF

    drive(testbench)


def test_cycles_are_counted_by_cause_while_not_idle() -> None:
    async def testbench(ctx: Any, dut: Any, port: Port) -> None:
        for cause, cycles in ((0, 3), (4, 5), (len(CAUSES) - 1, 2)):
            ctx.set(dut.status, {"cause": cause})
            ctx.set(dut.idle, 0)
            await ctx.tick().repeat(cycles)
            ctx.set(dut.idle, 1)
            await ctx.tick().repeat(4)
        counts = {cause: await port.access(f"CYCLES_{cause.upper()}") for cause in CAUSES}
        expected = dict.fromkeys(CAUSES, 0) | {CAUSES[0]: 3, CAUSES[4]: 5, CAUSES[-1]: 2}
        assert counts == expected

    drive(testbench)


def test_streams_of_any_kind_get_their_registers() -> None:
    extra = Out(stream.Signature(StructLayout({"a": 20, "b": 20})))
    signature = wiring.Signature({**SIGNATURE.members, "news": extra})
    found = register_map(signature, CONFIG.digest())
    assert [register.role for register in (found["NEWS"], found["NEWS_1"])] == [Role.SHOW, Role.TAKE]


def test_the_document_shows_the_map_as_it_is() -> None:
    """If not: copy the table from registers.md, as `tritforge verilog --accel medium --bus axi` writes it."""
    text = (Path(__file__).parents[1] / "docs" / "verilog.md").read_text()
    shown = text.partition("<!-- registers -->")[2].partition("<!-- end -->")[0].strip()
    medium = BusAccelerator(Accelerator(AcceleratorConfig.load("medium")), "axi")
    assert shown == medium.registers.to_markdown().strip()
