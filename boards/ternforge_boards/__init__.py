"""Boards as data, and the flow from Verilog to a bitstream with its reports."""
