"""The page: one HTML file that shows builds, what they are compared with, and sweeps."""

from .data import Compared, ComparedRow, SweepPoint
from .page import render_page, write_page

__all__ = ["Compared", "ComparedRow", "SweepPoint", "render_page", "write_page"]
