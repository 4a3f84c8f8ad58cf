"""Benchmarks. ``python -m bench`` measures every figure; other scripts here measure one thing."""
