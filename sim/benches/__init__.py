"""Benches: one module a unit.

Those in `library` are written against `driver.Driver`: they compare a unit, cycle by cycle, with
`models.numerics`, numpy or a plain description in Python, in Amaranth's simulator and, through `units`, under
cocotb on the unit's Verilog. The others are cocotb benches alone: `design()`, the component under test, and
cocotb tests.
"""
