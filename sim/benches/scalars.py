"""Benches of `hdl.scalars` and `hdl.parallel_scale`: reciprocal and output scale, against `numerics`."""

import numpy as np

from ...hdl.parallel_scale import ParallelScale
from ...hdl.scalars import PEAK_BITS, InverseRootScale, Reciprocal
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
    nested, temper = columns["nested"] == 1, columns["temper"] == 1
    epsilon = epsilon_term(
        columns["epsilon"],
        columns["epsilon_exponent"],
        columns["norm_shift"],
        np.where(nested, columns["against"], 1),
    )
    constant = (columns["constant"], columns["constant_exponent"])
    scale = inverse_root_scale(constant, columns["peak"], columns["energy"], epsilon)
    temperature = (columns["temperature"], columns["temperature_exponent"])
    tempered = multiply_scale(*scale, temperature)
    return {
        "mantissa": scale[0],
        "exponent": scale[1],
        "tempered_mantissa": np.where(temper, tempered[0], scale[0]),
        "tempered_exponent": np.where(temper, tempered[1], scale[1]),
    }


def _scale_corners() -> Columns:
    epsilons = np.array(
        [
            (_EXPONENTS[0], 0, 1, _LARGEST_SHIFT),
            (46, 0, 1, 0),
            (0, 1, _LARGEST_ENERGY, 0),
            (-62, 1, _LARGEST_ENERGY, _LARGEST_SHIFT),
            (-10, 1, 0, 3),
            (-10, 1, 1, 3),
        ]
    )
    cases = one_of_each(
        energy=(0, 1, 2, _LARGEST_ENERGY),
        peak=(0, 1, _LARGEST_PEAK),
        which=range(len(epsilons)),
        constant=_MANTISSAS,
        constant_exponent=[0],
        temper=(0, 1),
    )
    which = epsilons[cases.pop("which")]
    names = ("epsilon_exponent", "nested", "against", "norm_shift")
    same = dict.fromkeys(("epsilon", "temperature"), cases["constant"])
    zero = {"temperature_exponent": 0 * cases["constant"]}
    return cases | same | zero | dict(zip(names, which.T, strict=True))


def _energies(random: Random, count: int) -> Ints:
    return random.integers(0, _LARGEST_ENERGY + 1, count) >> random.integers(0, SQUARES_BITS + 1, count)


def _draw_scale(random: Random, count: int) -> Columns:
    return {
        "energy": _energies(random, count),
        "peak": corners_and_random(random, 0, _LARGEST_PEAK, count),
        "nested": random.integers(0, 2, count),
        "against": _energies(random, count),
        "norm_shift": random.integers(0, _LARGEST_SHIFT + 1, count),
        "constant": random.integers(*_MANTISSAS, count, endpoint=True),
        "constant_exponent": random.integers(-100, 80, count),
        "epsilon": random.integers(*_MANTISSAS, count, endpoint=True),
        "epsilon_exponent": random.integers(-60, 0, count),
        "temper": random.integers(0, 2, count),
        "temperature": random.integers(*_MANTISSAS, count, endpoint=True),
        "temperature_exponent": random.integers(-40, 10, count),
    }


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

# Hundreds of operations of hundreds of cycles: but for some, they run on Verilog alone.
_SCALE_CASES = serial_cases(lambda unit: range(unit.latency), _scale, _scale_corners, _draw_scale)
_QUICK = ("with_random_gaps", "reset_in_the_middle")

BENCHES = (
    Bench(
        "reciprocal",
        Reciprocal,
        serial_cases(
            lambda unit: range(unit.fastest, unit.slowest + 1), _reciprocal, _reciprocal_corners, _draw_peak
        ),
        _picture(("peak",), ("factor", "shift"), peak=1000),
    ),
    Bench(
        "inverse_root_scale",
        InverseRootScale,
        {name: _SCALE_CASES[name] for name in _QUICK},
        _picture(("energy", "peak"), ("mantissa", "exponent"), **_A_SCALE),
        long={name: case for name, case in _SCALE_CASES.items() if name not in _QUICK},
    ),
    Bench(
        "parallel_scale",
        ParallelScale,
        serial_cases(lambda unit: range(unit.fastest, unit.latency + 1), _scale, _scale_corners, _draw_scale),
        _picture(("energy", "peak"), ("mantissa", "exponent"), **_A_SCALE),
    ),
)
