"""Simulation of synthesised netlists: tokens of the gates against the integer model."""
