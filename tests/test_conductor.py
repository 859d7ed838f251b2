"""The conductor consumes the host's tokens and feeds chosen ones back."""

from typing import Any

from amaranth.sim import Simulator
from tritforge.hdl.conductor import Conductor

STOP, OTHER_STOP = 90, 91


class Session:
    """A conductor, with the host on one side and a sequencer that chooses given tokens on the other."""

    def __init__(self, chosen: list[int], **settings: int) -> None:
        self.dut = Conductor()
        self.chosen = iter(chosen)
        self.settings = settings
        self.starts: list[tuple[int, int, int]] = []
        """Token, logits and position of each run."""
        self.results: list[tuple[int, int]] = []
        """Token and last."""

    async def _runs(self, ctx: Any) -> None:
        dut = self.dut
        while True:
            _, _, start, token, logits, position = await ctx.tick().sample(
                dut.start, dut.token, dut.logits, dut.position
            )
            if not start:
                continue
            self.starts.append((token, logits, position))
            await ctx.tick().repeat(3)
            if logits:
                ctx.set(dut.chosen, next(self.chosen))
            ctx.set(dut.done, 1)
            await ctx.tick()
            ctx.set(dut.done, 0)

    async def _results(self, ctx: Any) -> None:
        dut = self.dut
        while True:
            _, _, valid, payload = await ctx.tick().sample(dut.results.valid, dut.results.payload)
            if not valid:
                continue
            # A host that lets it wait: the result stays.
            for _ in range(2):
                _, _, still, same = await ctx.tick().sample(dut.results.valid, dut.results.payload)
                assert still
                assert same == payload
            ctx.set(dut.results.ready, 1)
            await ctx.tick()
            ctx.set(dut.results.ready, 0)
            assert payload.mantissa == 20_000
            assert payload.exponent == -7
            self.results.append((payload.token, payload.last))

    def run(self, tokens: list[tuple[int, bool, bool]], position: int | None = None) -> None:
        """Give tokens (token, logits, generate), and wait until all is quiet."""
        dut = self.dut

        async def host(ctx: Any) -> None:
            ctx.set(dut.mantissa, 20_000)
            ctx.set(dut.exponent, -7)
            ctx.set(dut.stops[0], STOP)
            ctx.set(dut.stops[1], OTHER_STOP)
            for name, value in self.settings.items():
                ctx.set(getattr(dut, name), value)
            if position is not None:
                ctx.set(dut.set_position, 1)
                ctx.set(dut.new_position, position)
                ctx.set(dut.tokens.valid, 1)  # waits: the position goes first
                await ctx.tick()
                ctx.set(dut.set_position, 0)
            for token, logits, generate in tokens:
                ctx.set(dut.tokens.payload, {"token": token, "logits": logits, "generate": generate})
                ctx.set(dut.tokens.valid, 1)
                for _ in range(500):
                    _, _, ready = await ctx.tick().sample(dut.tokens.ready)
                    if ready:
                        break
                else:
                    raise AssertionError(f"token {token} was not taken")
            ctx.set(dut.tokens.valid, 0)
            quiet = 0
            for _ in range(500):
                _, _, idle = await ctx.tick().sample(dut.idle)
                quiet = quiet + 1 if idle else 0
                if quiet == 20:
                    return
            raise AssertionError("the conductor never became idle")

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._runs, background=True)
        simulator.add_testbench(self._results, background=True)
        simulator.add_testbench(host)
        simulator.run()


def test_tokens_without_logits_are_consumed_in_order_without_results() -> None:
    session = Session([])
    session.run([(5, False, False), (6, False, False), (0xFFFF, False, False)])
    assert session.starts == [(5, 0, 0), (6, 0, 1), (0xFFFF, 0, 2)]
    assert session.results == []


def test_logits_without_generation_give_one_result_a_token() -> None:
    session = Session([70, 71], new_tokens=9)
    session.run([(5, True, False), (6, True, False)])
    assert session.starts == [(5, 1, 0), (6, 1, 1)]
    assert session.results == [(70, 1), (71, 1)]


def test_generation_ends_after_the_number_of_new_tokens() -> None:
    session = Session([70, 71, 72, 99], new_tokens=3)
    session.run([(5, False, False), (6, True, True)])
    assert session.starts == [(5, 0, 0), (6, 1, 1), (70, 1, 2), (71, 1, 3)]
    assert session.results == [(70, 0), (71, 0), (72, 1)]


def test_one_new_token_is_the_last() -> None:
    session = Session([70, 99], new_tokens=1)
    session.run([(6, True, True)])
    assert session.results == [(70, 1)]
    assert len(session.starts) == 1


def test_generation_ends_at_either_stop_token_and_goes_on_with_the_next_text() -> None:
    session = Session([70, STOP, 71, 72, OTHER_STOP], new_tokens=50, stops_enabled=0b11)
    session.run([(6, True, True), (7, True, True)])
    assert session.results == [(70, 0), (STOP, 1), (71, 0), (72, 0), (OTHER_STOP, 1)]
    assert [token for token, _, _ in session.starts] == [6, 70, 7, 71, 72]


def test_a_stop_token_that_is_not_enabled_is_a_token() -> None:
    session = Session([STOP, OTHER_STOP, 99], new_tokens=50, stops_enabled=0b10)
    session.run([(6, True, True)])
    assert session.results == [(STOP, 0), (OTHER_STOP, 1)]


def test_halt_ends_generation_at_the_next_token() -> None:
    session = Session([70, 99], new_tokens=50, halt=1)
    session.run([(6, True, True)])
    assert session.results == [(70, 1)]


def test_a_position_can_be_set_ahead_of_a_waiting_token() -> None:
    session = Session([70, 71], new_tokens=2)
    session.run([(5, False, False), (6, True, True)], position=2**32 - 2)
    assert session.starts == [(5, 0, 2**32 - 2), (6, 1, 2**32 - 1), (70, 1, 0)]
