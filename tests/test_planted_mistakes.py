"""Mistakes, planted one at a time into the hardware's source: a unit's own bench must find each.

A case names the module, a fragment of its source, and what a mistake would make of it. The module is built
anew from the changed source and takes the right one's place wherever that is used; then the bench runs in
Amaranth's simulator and must report a mismatch. A fragment that is no longer there, or not just once, is an
error: the case must follow the code.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
from tritforge.sim.benches.driver import MismatchError, simulate
from tritforge.sim.benches.library import LIBRARY


@dataclass(frozen=True)
class Mistake:
    """A wrong line.

    Parameters
    ----------
    what
        What is wrong.
    module
        Within the package.
    right, wrong
        A fragment of its source and what stands there instead.
    unit, case
        The bench that must fail.
    """

    what: str
    module: str
    right: str
    wrong: str
    unit: str
    case: str


MISTAKES = [
    Mistake(
        "ties of the quantiser go up instead of away from zero",
        "hdl.quantiser",
        "magnitude.eq((shifted + 1) >> 1)",
        "magnitude.eq((shifted + ~negative) >> 1)",
        "quantiser",
        "corner_values",
    ),
    Mistake(
        "the quantiser clamps at -127",
        "hdl.quantiser",
        "limit.eq(INT8.high + negative)",
        "limit.eq(INT8.high)",
        "quantiser",
        "corner_values",
    ),
    Mistake(
        "ties of the rescaler go down",
        "hdl.rescale",
        "rounded.eq((fine + 1) >> 1)",
        "rounded.eq(fine >> 1)",
        "rescaler",
        "corner_values",
    ),
    Mistake(
        "a difference of states is one bit too narrow",
        "hdl.mlgru",
        "clamp(self.before - self.i, ACT.bits)",
        "clamp((self.before - self.i)[: ACT.bits].as_signed(), ACT.bits)",
        "mlgru",
        "corner_values",
    ),
    Mistake(
        "a candidate with noise is one bit too narrow",
        "hdl.head",
        "candidate = Signal(signed(VECTOR.bits + 1))",
        "candidate = Signal(signed(VECTOR.bits))",
        "head",
        "corners_of_samples",
    ),
    Mistake(
        "the later of two equal logits wins",
        "hdl.head",
        "candidate > best",
        "candidate >= best",
        "head",
        "first_of_the_largest_sums",
    ),
    Mistake(
        "what is left of a vector's last beat is not dropped",
        "hdl.streams",
        "with m.If(step & (wanted == 1)):",
        "with m.If(0):",
        "unpacker",
        "shapes",
    ),
    Mistake(
        "an element that waits is dropped",
        "hdl.streams",
        "step.eq(self.elements.valid & self.elements.ready)",
        "step.eq(self.elements.valid)",
        "unpacker",
        "with_bubbles_and_stalls",
    ),
    Mistake(
        "a raw logit that waits is dropped",
        "hdl.head",
        "with m.Elif(self.raw.ready):",
        "with m.Else():",
        "head",
        "raw_logits",
    ),
    Mistake(
        "a pipeline is not cleared by reset",
        "hdl.arith",
        'stage = Signal(value.shape(), name=f"{name}{k + 1}")',
        'stage = Signal(value.shape(), name=f"{name}{k + 1}", reset_less=True)',
        "rescaler",
        "reset_in_the_middle",
    ),
    Mistake(
        "a division runs on behind a reset",
        "hdl.scalars",
        "steps = Signal(range(17))\n        difference",
        "steps = Signal(range(17), reset_less=True)\n        difference",
        "serial_divider",
        "reset_in_the_middle",
    ),
]

# Mistakes that only the whole accelerator, or the models, show.


def _planted(mistake: Mistake) -> ModuleType:
    right = importlib.import_module(f"tritforge.{mistake.module}")
    source = inspect.getsource(right)
    count = source.count(mistake.right)
    if count != 1:
        pytest.fail(
            f"{mistake.right!r} stands {count} times in {mistake.module}; the case must follow the code"
        )
    wrong = ModuleType(f"{right.__name__}_planted")
    wrong.__package__, wrong.__file__ = right.__package__, right.__file__
    sys.modules[wrong.__name__] = wrong  # dataclasses and enums look their module up
    try:
        exec(compile(source.replace(mistake.right, mistake.wrong), wrong.__name__, "exec"), vars(wrong))
    finally:
        del sys.modules[wrong.__name__]
    return wrong


@contextmanager
def planted(mistake: Mistake) -> Iterator[ModuleType]:
    """Put the wrong module's names wherever the right one's have been imported."""
    right = importlib.import_module(f"tritforge.{mistake.module}")
    wrong = _planted(mistake)
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("tritforge.hdl", "tritforge.models", "tritforge.sim")) and module is not right
    ]
    with pytest.MonkeyPatch.context() as patch:
        for user in users:
            for name, value in list(vars(user).items()):
                # Classes and functions that the module itself defines.
                if getattr(value, "__module__", None) == right.__name__ and hasattr(wrong, name):
                    patch.setattr(user, name, getattr(wrong, name))
        yield wrong


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_planted_mistake_is_found(mistake: Mistake) -> None:
    bench = LIBRARY[mistake.unit]
    with planted(mistake) as wrong:
        unit = getattr(wrong, getattr(bench.unit, "__name__", ""), bench.unit)
        with pytest.raises(MismatchError):
            simulate(replace(bench, unit=unit).make(), bench.cases[mistake.case])


def test_an_unchanged_module_passes() -> None:
    same = Mistake("nothing", "hdl.quantiser", "clipped.eq(", "clipped.eq(", "quantiser", "corner_values")
    bench = LIBRARY[same.unit]
    with planted(same) as module:
        simulate(module.Quantiser(), bench.cases[same.case])


@pytest.mark.parametrize("fragment", ["no such line", "m.d.comb"])
def test_a_fragment_that_is_not_there_just_once_is_told(fragment: str) -> None:
    mistake = replace(MISTAKES[0], right=fragment)
    with pytest.raises(pytest.fail.Exception, match="the case must follow the code"):
        _planted(mistake)
