"""Builds and published systems beside each other."""

from dataclasses import replace

from ternforge_boards.page.tables import Cell, Column, Note, Table, shown
from ternforge_boards.report.compare import Comparison, Row
from ternforge_boards.report.value import Value

__all__ = ["comparison_table"]


def comparison_table(compared: Comparison | None) -> Table | None:
    """A row for each system, with a column for each that has figures.

    Texts stand below the name; a text in a column ``of`` below the figure before it. A row whose
    figures are all come by alike says so once. What is not like for like, why a figure is not
    given, and citations are in a note for each row.
    """
    if compared is None:
        return None
    figures = [n for n, _ in enumerate(compared.columns)
               if any(isinstance(row.cells[n], Value) for row in compared.rows)]
    rows, notes = [], []
    for row in compared.rows:
        note = _note(row, compared.columns)
        if note is not None:
            notes.append(note)
        rows.append(_row(row, compared.columns, figures, len(notes) if note else None))
    columns = [Column("system"), *(Column(compared.columns[n], numeric=True) for n in figures)]
    return Table("Builds and published systems", columns, rows, notes=notes, name="comparison")


def _row(row: Row, titles: tuple[str, ...], figures: list[int],
         note: int | None) -> list[Cell]:
    known = [cell for n in figures if isinstance(cell := row.cells[n], Value)
             and cell.value is not None]
    alike = {cell.status for cell in known}
    texts = [text for n, title in enumerate(titles) if n not in figures and title != "of"
             and isinstance(text := row.cells[n], str) and text]
    name = Cell(row.name, key=row.name.casefold(), reason=", ".join(texts),
                marks=() if note is None else (note,),
                status=alike.pop() if len(alike) == 1 else None)
    cells = [name]
    for n in figures:
        cell = replace(shown(row.cells[n], unit=not _named(titles[n], row.cells[n])), reason="")
        if name.status is not None:
            cell = replace(cell, status=None)
        of = row.cells[n + 1] if titles[n + 1:n + 2] == ("of",) else None
        if isinstance(of, str) and of and cell.key is not None:
            cell = replace(cell, reason=of)
        cells.append(cell)
    return cells


def _note(row: Row, titles: tuple[str, ...]) -> Note | None:
    """What must be known to read a row; None if there is nothing."""
    refused: dict[str, list[str]] = {}
    for title, cell in zip(titles, row.cells, strict=True):
        if isinstance(cell, Value) and cell.value is None:
            refused.setdefault(cell.source, []).append(title)
    says = [*row.marks, *(f"{', '.join(of)}: {reason}" for reason, of in refused.items())]
    if not says and not row.citation:
        return None
    return Note(heading=row.name, text="; ".join(says), source=row.citation, href=row.href)


def _named(title: str, cell: Value | str | None) -> bool:
    """Whether the title says that the column is of tokens per second."""
    return title.startswith("tok/s") and isinstance(cell, Value) and cell.unit.startswith("tok/s")
