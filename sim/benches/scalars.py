"""Benches of `hdl.scalars`: divider, reciprocal, output scale and product of scales, against `numerics`."""

from collections.abc import Callable

import numpy as np
from amaranth.lib.wiring import Component

from ...hdl.scalars import PEAK_BITS, InverseRootScale, Reciprocal, ScaleProduct, SerialDivider
from ...models.numerics import (
    EXPONENT_BITS,
    NORMAL,
    SCALE,
    SQUARES_BITS,
    VECTOR,
    epsilon_term,
    inverse_root_scale,
    multiply_scale,
    reciprocal,
)
from .driver import Driver, Ints, Random
from .parts import Bench, Columns, Picture, corners_and_random, one_of_each, serial_cases

__all__ = ["BENCHES"]

_MANTISSAS = (1 << (SCALE.bits - 1), SCALE.high)
_EXPONENTS = (-(1 << (EXPONENT_BITS - 1)), (1 << (EXPONENT_BITS - 1)) - 1)
_LARGEST_PEAK = (1 << PEAK_BITS) - 1
_LARGEST_ENERGY = (1 << SQUARES_BITS) - 1
_LARGEST_SHIFT = VECTOR.bits - NORMAL.bits
_WORD = (1 << 16) - 1


def _exactly(cycles: int) -> Callable[[Component], range]:
    return lambda unit: range(cycles, cycles + 1)


# Division


def _quotient(columns: Columns) -> Columns:
    return {"quotient": columns["dividend"] // columns["divisor"]}


def _division(divisor: Ints, quotient: Ints, rest: Ints) -> Columns:
    return {"dividend": divisor * quotient + rest, "divisor": divisor}


def _division_corners() -> Columns:
    cases = one_of_each(divisor=(1, 2, 3, 1 << 15, _WORD - 1, _WORD), quotient=(0, 1, 1 << 15, _WORD))
    divisor, quotient = cases["divisor"], cases["quotient"]
    sides = [_division(divisor, quotient, rest) for rest in (0 * divisor, divisor - 1)]
    return {name: np.concatenate([side[name] for side in sides]) for name in sides[0]}


def _draw_division(random: Random, count: int) -> Columns:
    divisor = corners_and_random(random, 1, _WORD, count)
    return _division(divisor, random.integers(0, _WORD + 1, count), random.integers(0, divisor))


# Reciprocal


def _reciprocal(columns: Columns) -> Columns:
    factor, shift = reciprocal(columns["peak"])
    return {"factor": factor, "shift": shift}


def _reciprocal_corners() -> Columns:
    powers = 1 << np.arange(PEAK_BITS)
    return {"peak": np.unique([0, _LARGEST_PEAK, *powers, *(powers[1:] - 1), *(powers[1:-1] + 1)])}


def _draw_peak(random: Random, count: int) -> Columns:
    return {"peak": random.integers(0, _LARGEST_PEAK + 1, count) >> random.integers(0, PEAK_BITS, count)}


# Output scale


def _scale(columns: Columns) -> Columns:
    added = epsilon_term(
        columns["epsilon"], columns["epsilon_exponent"], columns["norm_shift"], columns["against"]
    )
    constant = (columns["constant"], columns["constant_exponent"])
    mantissa, exponent = inverse_root_scale(constant, columns["peak"], columns["energy"] + added)
    return {"mantissa": mantissa, "exponent": exponent}


def _scale_corners() -> Columns:
    epsilons = np.array(
        [
            (_EXPONENTS[0], 1, _LARGEST_SHIFT),
            (_EXPONENTS[1], 1, 0),
            (_EXPONENTS[1], _LARGEST_ENERGY, 0),
            (-62, _LARGEST_ENERGY, _LARGEST_SHIFT),
            (-10, 0, 3),
        ]
    )
    cases = one_of_each(
        energy=(0, 1, 2, _LARGEST_ENERGY),
        peak=(0, 1, _LARGEST_PEAK),
        which=range(len(epsilons)),
        constant=_MANTISSAS,
        constant_exponent=[0],
    )
    which = epsilons[cases.pop("which")]
    names = ("epsilon_exponent", "against", "norm_shift")
    return cases | {"epsilon": cases["constant"]} | dict(zip(names, which.T, strict=True))


def _energies(random: Random, count: int) -> Ints:
    return random.integers(0, _LARGEST_ENERGY + 1, count) >> random.integers(0, SQUARES_BITS + 1, count)


def _draw_scale(random: Random, count: int) -> Columns:
    return {
        "energy": _energies(random, count),
        "peak": corners_and_random(random, 0, _LARGEST_PEAK, count),
        "against": np.where(random.random(count) < 0.3, 1, _energies(random, count)),
        "norm_shift": random.integers(0, _LARGEST_SHIFT + 1, count),
        "constant": random.integers(*_MANTISSAS, count, endpoint=True),
        "constant_exponent": random.integers(-100, 80, count),
        "epsilon": random.integers(*_MANTISSAS, count, endpoint=True),
        "epsilon_exponent": random.integers(-60, 20, count),
    }


# Product of scales


def _product(columns: Columns) -> Columns:
    by = (columns["b_mantissa"], columns["b_exponent"])
    mantissa, exponent = multiply_scale(columns["a_mantissa"], columns["a_exponent"], by)
    return {"mantissa": mantissa, "exponent": exponent}


def _product_corners() -> Columns:
    # Products just below, at and just above the power of two at which the mantissa carries.
    root = 23_170
    mantissas = (*_MANTISSAS, root, root + 1)
    exponents = {"a_exponent": _EXPONENTS, "b_exponent": _EXPONENTS}
    return one_of_each(a_mantissa=mantissas, b_mantissa=mantissas, **exponents)


_EXPONENT_PORTS = ("a_exponent", "b_exponent")


def _draw_product(random: Random, count: int) -> Columns:
    a, b = random.integers(*_MANTISSAS, (2, count), endpoint=True)
    exponents = random.integers(*_EXPONENTS, (2, count), endpoint=True)
    return {"a_mantissa": a, "b_mantissa": b, "a_exponent": exponents[0], "b_exponent": exponents[1]}


def _picture(ports: tuple[str, ...], results: tuple[str, ...], **inputs: int) -> Picture:
    """One operation."""

    async def operate(driver: Driver) -> None:
        await driver.cycle()
        await driver.cycle(start=1, **inputs)
        while not (await driver.cycle(start=0)).done:
            pass
        await driver.cycle()

    shown = {"start": ""} | dict.fromkeys(ports, "") | {"done": ""} | dict.fromkeys(results, "done")
    return Picture(operate, shown)


_A_SCALE = {
    "energy": 1 << 30,
    "peak": 20_000,
    "against": 1,
    "constant": 20_000,
    "constant_exponent": -20,
    "epsilon": 20_000,
    "epsilon_exponent": -20,
}

BENCHES = (
    Bench(
        "serial_divider",
        SerialDivider,
        serial_cases(_exactly(17), _quotient, _division_corners, _draw_division),
        _picture(("dividend", "divisor"), ("quotient",), dividend=1_000_000, divisor=300),
    ),
    Bench(
        "reciprocal",
        Reciprocal,
        serial_cases(_exactly(18), _reciprocal, _reciprocal_corners, _draw_peak),
        _picture(("peak",), ("factor", "shift"), peak=1000),
    ),
    Bench(
        "inverse_root_scale",
        InverseRootScale,
        serial_cases(lambda unit: range(unit.latency), _scale, _scale_corners, _draw_scale),
        _picture(("energy", "peak"), ("mantissa", "exponent"), **_A_SCALE),
    ),
    Bench(
        "scale_product",
        ScaleProduct,
        serial_cases(_exactly(16), _product, _product_corners, _draw_product, _EXPONENT_PORTS),
        _picture(
            ("a_mantissa", "a_exponent", "b_mantissa", "b_exponent"),
            ("mantissa", "exponent"),
            a_mantissa=20_000,
            a_exponent=-20,
            b_mantissa=30_000,
            b_exponent=-15,
        ),
    ),
)
"""Bit-serial units."""
