"""The AXI units under cocotb, each case by name."""

import pytest
from tritforge.sim.bench import bench_cases, missing_tools, run_bench

pytest.importorskip("cocotbext.axi", reason="the AXI bench needs cocotbext-axi: pip install tritforge[test]")


@pytest.fixture(scope="module")
def results() -> dict[str, str | None]:
    if missing := missing_tools():
        pytest.skip(f"cocotb benches need {', '.join(missing)}")
    return run_bench("bus_axi")


@pytest.mark.parametrize("case", bench_cases("bus_axi"))
def test_case(case: str, results: dict[str, str | None]) -> None:
    assert results[case] is None
