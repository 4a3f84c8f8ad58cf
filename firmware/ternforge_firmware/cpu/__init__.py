"""Runs packet images on the CPU, bit for bit as the integer model. Needs the extra ``cpu``."""
