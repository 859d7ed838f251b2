"""Simulation: the open tools, Verilog export, compiled models and the engine that runs whole texts on them."""
