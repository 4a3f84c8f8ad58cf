"""Sections of the page: the charts and tables of one subject, for all builds."""

from ternforge_boards.report.schema import Report

__all__ = ["Builds"]

#: The letter that stands for a build, and its report.
Builds = list[tuple[str, Report]]
