"""cocotb benches: one module a unit, run by `sim/bench.py`.

A bench has `design()`, the component under test, and cocotb tests that drive it at every clock and compare it
with plain integer arithmetic or `models.numerics`.
"""
