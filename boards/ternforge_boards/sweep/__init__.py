"""Sweeps over a design space: a grid of points, each measured once, on Dask's workers."""
