"""Builds and published systems beside each other."""

from ternforge_boards.page.data import Compared
from ternforge_boards.page.tables import Cell, Column, Table, shown
from ternforge_boards.report.value import Value

__all__ = ["comparison_table"]


def comparison_table(compared: Compared | None) -> Table | None:
    """A row for each system; what is not like for like is in footnotes."""
    if compared is None:
        return None
    notes = list(dict.fromkeys(mark for row in compared.rows for mark in row.marks))
    rows = [[Cell(row.name, key=row.name.casefold(), reason=row.citation, href=row.href,
                  marks=tuple(notes.index(mark) + 1 for mark in row.marks)),
             *(shown(cell) for cell in row.cells)] for row in compared.rows]
    numeric = [any(isinstance(row.cells[n], Value) for row in compared.rows)
               for n in range(len(compared.columns))]
    columns = [Column("system"), *(Column(title, numeric=number) for title, number in
                                   zip(compared.columns, numeric, strict=True))]
    return Table("Builds and published systems", columns, rows, notes=notes, name="comparison")
