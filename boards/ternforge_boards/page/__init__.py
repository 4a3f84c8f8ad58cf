"""The page: one HTML file that shows builds, what they are compared with, and sweeps."""

from .data import SweepPoint
from .page import render_page, write_page

__all__ = ["SweepPoint", "render_page", "write_page"]
