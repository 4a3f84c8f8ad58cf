"""Simulation: test benches, the Verilated core, memory models."""
