"""Generates FPGA cores that run language models with ternary weights."""
