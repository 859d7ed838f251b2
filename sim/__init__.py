"""Simulation: the open tools, Verilog export, compiled models, and the engine that runs texts on them."""
